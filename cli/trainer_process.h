// Runs one job in fedglm-trainer, the program beside this one: LibTorch is loaded nowhere else.
#pragma once

#include <functional>

#include "adapter/training_job.h"
#include "base/status.h"

namespace fedglm::cli {

// Called for every event; return false to stop the trainer.
using TrainerEventCallback = std::function<bool(const TrainerEvent&)>;

// The "done" event; or the trainer's own error, with its exit code's kind. `quiet` drops what it writes on stderr.
absl::StatusOr<TrainerEvent> RunTrainer(const TrainingJob& job, bool quiet, const TrainerEventCallback& on_event);

}  // namespace fedglm::cli
