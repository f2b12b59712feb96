// How this machine runs a model fastest: looked up in a folder, else measured there and then, for about half a second.
#pragma once

#include <filesystem>

#include "inference/autotune/tuning.h"
#include "inference/autotune/tuning_cache.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"

namespace fedglm {

// Never fails: without a measurement that can be trusted, the physical cores and chunks of 256, which are measured
// again next time. A kept tuning that is broken, or a folder that cannot be written, costs one warning in the log.
Tuning Autotune(const GgufFile& file, const Hyperparameters& hyperparameters, const std::filesystem::path& folder);

// The same with the key, the candidates and the measurement given.
Tuning FindTuning(const TuningKey& key, const TuningCandidates& candidates, const MeasurePass& measure,
                  const std::filesystem::path& folder);

}  // namespace fedglm
