// How far the updates of a round lie from each other.
#pragma once

#include <cstddef>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/update_form.h"
#include "aggregator/updates/round_updates.h"
#include "base/status.h"

namespace fedglm {

// ‖x_i − x_j‖² over all trained values: [updates][updates], symmetric. Memory holds one tensor of every update.
absl::StatusOr<std::vector<std::vector<double>>> SquaredDistances(const Adapter& global, UpdateForm form,
                                                                  const RoundUpdates& updates);

}  // namespace fedglm
