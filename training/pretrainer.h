// Makes a small glm4 model from nothing: a vocabulary, all weights, a GGUF file. How the demo's base was made.
#pragma once

#include "adapter/training_job.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "training/trainer.h"

namespace fedglm {

absl::Status Pretrain(const TrainingJob& job, const EventSink& on_event);

}  // namespace fedglm
