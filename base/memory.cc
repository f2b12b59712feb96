#include "base/memory.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "base/cgroup.h"

namespace fedglm {
namespace {

// "VmRSS:   1234 kB"
uint64_t KibibyteField(const char* path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, name.size(), name) == 0) return std::strtoull(line.c_str() + name.size(), nullptr, 10) * 1024;
  }
  return 0;
}

}  // namespace

uint64_t CurrentRssBytes() { return KibibyteField("/proc/self/status", "VmRSS:"); }

uint64_t PeakRssBytes() { return KibibyteField("/proc/self/status", "VmHWM:"); }

uint64_t TotalMemoryBytes() {
  const uint64_t machine = KibibyteField("/proc/meminfo", "MemTotal:");
  const uint64_t group = CgroupMemoryLimit();
  return group == 0 ? machine : std::min(machine, group);
}

uint64_t AvailableMemoryBytes() {
  uint64_t available = KibibyteField("/proc/meminfo", "MemAvailable:");
  if (const uint64_t limit = CgroupMemoryLimit(); limit != 0) {
    available = std::min(available, limit - std::min(limit, CgroupMemoryUsed()));
  }
  return available;
}

}  // namespace fedglm
