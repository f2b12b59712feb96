// The loss of an adapter on records, in a process of its own: `fedglm evaluate`, which is the engine that will serve
// the adapter. It needs no LibTorch, whose start alone takes a second.
#pragma once

#include <functional>

#include "adapter/training_job.h"
#include "base/status.h"

namespace fedglm {

// Of a kEvaluate job: model, adapter, records, sequence length, threads. An "evaluated" event with loss (NaN: it was
// not finite) and tokens. Errors are of the exit code's kind, in the evaluator's words; what it says besides goes to
// stderr. Cancelled once `stopped` says so.
absl::StatusOr<TrainerEvent> RunEvaluator(const TrainingJob& job, const std::function<bool()>& stopped);

}  // namespace fedglm
