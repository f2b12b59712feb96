// The loss of the engine on records, over the same tokens that the trainer counts.
#pragma once

#include <cstdint>
#include <functional>

#include "adapter/training_job.h"
#include "base/status.h"
#include "inference/engine/engine.h"
#include "training/data/records.h"

namespace fedglm {

// Cross entropy over the counted tokens of all examples. `on_example` may be empty; it is told how many are done.
// Cancelled once a stop is requested (base/process.h).
absl::StatusOr<Engine::Loss> EvaluateExamples(Engine& engine, const ExampleSet& set,
                                              const std::function<void(int64_t done)>& on_example);

// A kEvaluate job: model, adapter, base_sha256, records, sequence length, threads. Its events, "done" last. Needs no
// LibTorch, whose start alone takes a second, and as little memory as answering does.
absl::Status RunEvaluationJob(const TrainingJob& job, const EventSink& on_event);

}  // namespace fedglm
