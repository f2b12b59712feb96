// How much memory this process holds, and how much it could have.
#pragma once

#include <cstdint>

namespace fedglm {

uint64_t CurrentRssBytes();
uint64_t PeakRssBytes();  // of this process; children are not counted

// The memory this process may count on: the cgroup's limit or the machine's memory, whichever is lower.
uint64_t TotalMemoryBytes();
// What of it is free now, page cache counted as free.
uint64_t AvailableMemoryBytes();

}  // namespace fedglm
