// What travels from a site to the aggregator: which factors of the adapter are trained, and what is sent of them. How
// the updates of a round are combined is the aggregator's (aggregator/strategy/strategy.h).
#pragma once

#include <string_view>

#include "base/status.h"

namespace fedglm {

enum class UpdateForm {
  kChangeOfB,        // A frozen (from the shared seed); ΔB = B_site − B_global
  kChangeOfFactors,  // ΔA and ΔB
  kFactors,          // A and B themselves
  kGradientOfB,      // A frozen; the gradient of the mean loss by B
};

// The mode of a federation, as it stands in configurations, in jobs, in provenance and on the wire: "freeze-a",
// "average", "stack", "fedsgd". Never renamed: old adapters carry it, and their signatures cover it.
std::string_view UpdateFormName(UpdateForm form);
absl::StatusOr<UpdateForm> ParseUpdateForm(std::string_view name);  // UsageError

bool TrainsA(UpdateForm form);  // B is trained in every form

}  // namespace fedglm
