// The limits of the control group this process is in, version 1 or 2.
#pragma once

#include <cstdint>

namespace fedglm {

// Processors' worth of time per second; 0: no limit.
double CgroupCpuQuota();

// The lowest memory limit on the way to the root, and what is used of it now (without file pages that can be dropped).
// 0: no limit.
uint64_t CgroupMemoryLimit();
uint64_t CgroupMemoryUsed();

}  // namespace fedglm
