// How fast this machine reads weights: from its memory, and from the disk. The two limits of decoding.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/status.h"
#include "inference/memory/weight_layout.h"

namespace fedglm {

// Bytes a second that `threads` read together, the best of a few passes over a buffer larger than most caches. Takes about
// 0.1 s and, meanwhile, up to 256 MiB.
double MeasureMemoryBandwidth(int threads);

// Bytes a second of the layers, read as they would be streamed, for about 0.5 s. Takes two layers' memory meanwhile.
absl::StatusOr<double> MeasureStreamBandwidth(const std::filesystem::path& model, const WeightLayout& layout);

}  // namespace fedglm
