// Runs one training job from its records to its result. LibTorch's exceptions end here.
#pragma once

#include "adapter/training_job.h"
#include "base/status.h"

namespace fedglm {

// The events of the job, "done" last; an error is returned, not reported as an event.
absl::Status RunTrainingJob(const TrainingJob& job, const EventSink& on_event);

}  // namespace fedglm
