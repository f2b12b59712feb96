// How fast this machine's memory can be read: the limit that decoding runs into.
#pragma once

#include <cstddef>
#include <span>

#include "base/thread_pool.h"

namespace fedglm::bench {

// Bytes per second of one pass over `bytes` with wide loads, the pool's threads side by side. The bytes should be many
// times the size of the last-level cache, and in memory.
double ReadBandwidth(std::span<const std::byte> bytes, ThreadPool& pool);

}  // namespace fedglm::bench
