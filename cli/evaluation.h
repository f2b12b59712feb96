// The loss of the engine on records, over the same tokens that the trainer counts.
#pragma once

#include <filesystem>
#include <vector>

#include "base/status.h"
#include "inference/engine/engine.h"

namespace fedglm::cli {

// Mean cross entropy over the answer tokens of all records in `files`; records longer than `sequence_length` are cut as
// the trainer cuts them.
absl::StatusOr<Engine::Loss> EvaluateRecords(Engine& engine, const std::vector<std::filesystem::path>& files,
                                             int64_t sequence_length, bool quiet);

}  // namespace fedglm::cli
