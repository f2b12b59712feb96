// Logits of a given text, for perplexity, evaluation and comparison with other engines.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/status.h"
#include "inference/engine/engine_core.h"

namespace fedglm {

// Runs `tokens` as one sequence from position 0 and hands out the logits of the positions where `wanted`, in order,
// some at a time: positions [count], rows [count][vocabulary]. Takes a turn for each batch, so that answers go on
// meanwhile. Keys and values are float32, whatever the answers' are: this is what other things are measured by.
// Cancelled if `stop_requested` says so between batches; ResourceExhausted if the memory budget has no room.
using LogitsSink = std::function<absl::Status(const int64_t* positions, const float* rows, int64_t count)>;
absl::Status ComputePositionLogits(EngineCore& core, const std::vector<Token>& tokens, const std::vector<bool>& wanted,
                                   const std::function<bool()>& stop_requested, const LogitsSink& sink);

}  // namespace fedglm
