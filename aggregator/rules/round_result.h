// What the accepted updates of a round make of the adapter, and what there is to say of each.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "aggregator/strategy/strategy.h"
#include "aggregator/updates/bounded_updates.h"
#include "base/status.h"

namespace fedglm {

// For the audit log: what was done with an update, and why.
struct UpdateRemark {
  size_t update = 0;
  std::string action, detail;
};

struct RoundResult {
  AggregationResult combined;        // the global adapter where nobody contributed
  std::vector<size_t> contributors;  // the updates that went in, in their order
  std::vector<UpdateRemark> remarks;
};

// Every update within `bounds`, combined by `strategy`. `state` is what the strategy remembers. Errors of reading, and
// of Strategy::Combine. Values that add up to what is not finite are no error: nobody has contributed then.
absl::StatusOr<RoundResult> CombineUpdates(const Strategy& strategy, const Adapter& global, UpdateForm form,
                                           const UpdateBounds& bounds, const RoundUpdates& updates, TensorMap state);

}  // namespace fedglm
