// What the engine asks the planner of memory/ for, of one model and one set of options.
#pragma once

#include <cstdint>

#include "inference/engine/engine.h"
#include "inference/gguf/architecture.h"
#include "inference/memory/memory_plan.h"

namespace fedglm {

// Positions of one sequence: options.context, or the model's own up to 8192.
int64_t ContextOf(const Hyperparameters& hyperparameters, const EngineOptions& options);

// For a pool of `threads`, in the process as it is now. Bandwidths are left unknown.
PlanOptions PlanOptionsFor(const Hyperparameters& hyperparameters, const EngineOptions& options, int threads);

}  // namespace fedglm
