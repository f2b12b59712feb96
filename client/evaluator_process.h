// The loss of an adapter on records, in a process of its own: `fedglm evaluate`, which is the engine that will serve the
// adapter. It needs no LibTorch, whose start alone takes a second.
#pragma once

#include <functional>

#include "adapter/training_job.h"
#include "base/status.h"

namespace fedglm {

// Of a kEvaluate job: model, adapter, records, sequence length, threads. An "evaluated" event with loss and tokens. Errors
// are of the exit code's kind; what is wrong stands on the inherited stderr. Cancelled once `stopped` says so.
absl::StatusOr<TrainerEvent> RunEvaluator(const TrainingJob& job, const std::function<bool()>& stopped);

}  // namespace fedglm
