// The processors there are for this process: how many, which share a core, which a cache; and threads kept on some of
// them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace fedglm {

// Physical cores that this process may use: the affinity mask, one hyper-thread of each core, at most what the cgroup's
// CPU quota allows (rounded up). At least 1.
int UsablePhysicalCores();
// The same with every hyper-thread counted.
int UsableProcessors();

// "AMD EPYC 7763 64-Core Processor", as the kernel calls it; "unknown" where it does not say.
std::string CpuModelName(const std::filesystem::path& cpuinfo = "/proc/cpuinfo");

// One physical core, as far as this process may use it.
struct Core {
  std::vector<int> processors;  // its hyper-threads, ascending; at least one
  int cache = 0;                // cores with the same number share their last-level cache
};

// The processors in the calling thread's affinity mask, ascending; a cgroup's cpuset is part of the mask. Empty if the
// kernel does not say.
std::vector<int> AllowedProcessors();
// Lets the calling thread run on these processors only. False if the kernel refuses: none of them is left to it.
bool AllowProcessors(const std::vector<int>& processors);

// The cores of `processors` as the kernel describes them in `topology`, by their first processor. Where the folder says
// nothing, each processor is a core, and all share one cache.
std::vector<Core> CoresOf(const std::vector<int>& processors,
                          const std::filesystem::path& topology = "/sys/devices/system/cpu");

// [threads] A core for each: first `near`'s own, then those that share its cache, then those of the other caches, cache
// by cache. Distinct while there are cores; then from the first again. Empty if there are no cores.
std::vector<Core> PlaceThreads(const std::vector<Core>& cores, int threads, int near);

}  // namespace fedglm
