// Whether an update that arrived is one.
#pragma once

#include <string>

#include "adapter/adapter.h"
#include "adapter/update_form.h"
#include "aggregator/rules/update_claim.h"
#include "aggregator/store/store.h"
#include "aggregator/updates/update_file.h"

namespace fedglm {

// `update`, accepted or refused by what is in `file`, which came for it and has the claimed digest; `global` is what it
// was trained from. Of neither there is a copy in memory. BadFile if the disk does not give the bytes.
absl::StatusOr<UpdateRow> Examine(UpdateRow update, const UpdateClaim& claim, UpdateFile& file, const Adapter& global,
                                  UpdateForm form);

// Names in a reason come from the site: no line of it may look like a line of our log, or fill it.
std::string ShortReason(std::string_view reason);

}  // namespace fedglm
