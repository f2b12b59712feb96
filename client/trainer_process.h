// Runs one job in fedglm-trainer, the program beside this one: LibTorch is loaded nowhere else.
#pragma once

#include <functional>

#include "adapter/training_job.h"
#include "base/status.h"

namespace fedglm {

struct TrainerCallbacks {
  std::function<void(const TrainerEvent&)> on_event;
  std::function<bool()> stopped;  // asked several times a second; true ends the trainer
};

// The "done" event; Cancelled if it was stopped; or the trainer's own error, with its exit code's kind. `quiet` drops
// what it writes on stderr.
absl::StatusOr<TrainerEvent> RunTrainer(const TrainingJob& job, bool quiet, const TrainerCallbacks& callbacks);

// The error that a "failed" event tells of.
absl::Status ErrorOf(const TrainerEvent& failed);

}  // namespace fedglm
