// Whether a site's update fits the adapter, read a piece at a time.
#pragma once

#include "adapter/adapter.h"
#include "adapter/update_form.h"
#include "aggregator/updates/update_file.h"
#include "base/status.h"

namespace fedglm {

// Refused, naming the tensor: missing, unexpected, of another shape, or with a value that is not finite or is beyond
// what a sum over all sites has room for (exact_mean.h). `update` is parsed. BadFile if it cannot be read.
absl::Status CheckUpdateFile(const UpdateFile& update, const Adapter& global, UpdateForm form);

}  // namespace fedglm
