// Whether an update that arrived is one.
#pragma once

#include <string>

#include "adapter/adapter.h"
#include "adapter/update_form.h"
#include "aggregator/rules/update_claim.h"
#include "aggregator/store/store.h"

namespace fedglm {

// `update`, accepted or refused by the `bytes` that came for it; `global` is what it was trained from.
UpdateRow Examine(UpdateRow update, const UpdateClaim& claim, const std::string& bytes, const Adapter& global,
                  UpdateForm form);

// Names in a reason come from the site: no line of it may look like a line of our log, or fill it.
std::string ShortReason(std::string_view reason);

}  // namespace fedglm
