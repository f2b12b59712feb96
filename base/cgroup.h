// The limits of the control group this process is in, version 1 or 2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fedglm {

// Where the kernel shows itself; elsewhere in tests.
struct KernelFolders {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
};

// Processors' worth of time per second; 0: no limit.
double CgroupCpuQuota();

// The lowest memory limit on the way to the root, and what is used of it now (without file pages that can be dropped).
// 0: no limit.
uint64_t CgroupMemoryLimit(const KernelFolders& folders = {});
uint64_t CgroupMemoryUsed(const KernelFolders& folders = {});

// Every limit on the way to the root, the process's own group first: the one with the least left need not be the
// lowest.
struct CgroupMemory {
  uint64_t limit = 0;
  uint64_t used = 0;  // without file pages that can be dropped
};
std::vector<CgroupMemory> CgroupMemoryLimits(const KernelFolders& folders = {});

// The pressure file (PSI) of the process's own group: version 2 only. Empty: there is none.
std::string CgroupMemoryPressureFile(const KernelFolders& folders = {});

}  // namespace fedglm
