// The hyperparameters of a training as flags: --learning-rate is learning_rate of adapter/training_plan.h.
#pragma once

#include "adapter/training_plan.h"
#include "base/command_line.h"

namespace fedglm::cli {

// One flag for each, with its range, and with what `plan` holds as its default. `plan` must outlive the parsing.
void AddPlanFlags(Command app, TrainingPlan& plan);

}  // namespace fedglm::cli
