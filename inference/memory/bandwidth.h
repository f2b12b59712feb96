// How fast this machine reads weights: from its memory, and from the disk. The two limits of decoding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/status.h"
#include "base/thread_pool.h"
#include "inference/memory/weight_layout.h"

namespace fedglm {

// Bytes a second of one pass over `bytes`, in memory, with wide loads, the pool's threads side by side. The bytes
// should be many times the size of the last-level cache.
double ReadBandwidth(std::span<const std::byte> bytes, ThreadPool& pool);

// Bytes a second that `threads` read together, the best of a few passes over a buffer larger than most caches. Takes
// about 0.1 s and, meanwhile, up to 256 MiB.
double MeasureMemoryBandwidth(int threads);

// Bytes a second of the layers, read as they would be streamed, for about 0.5 s. Takes two layers' memory meanwhile.
absl::StatusOr<double> MeasureStreamBandwidth(const std::filesystem::path& model, const WeightLayout& layout);

}  // namespace fedglm
