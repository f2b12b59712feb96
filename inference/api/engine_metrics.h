// What the engine counts, as Prometheus reads it. The names: api_metrics.h. Private to this folder.
#pragma once

#include <string>

#include "inference/engine/generation.h"

namespace fedglm {

std::string EngineMetricsText(const EngineStatistics& statistics);

}  // namespace fedglm
