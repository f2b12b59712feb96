#include "base/cpu.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>

#include "base/cgroup.h"

namespace fedglm {
namespace {

// Processors of one core share this text, "0,4" or "0-1".
std::string CoreOf(int processor) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(processor) + "/topology/thread_siblings_list");
  std::string siblings;
  if (!std::getline(file, siblings) || siblings.empty()) return "processor " + std::to_string(processor);
  return siblings;
}

}  // namespace

int UsablePhysicalCores() {
  static const int cores = [] {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    std::set<std::string> distinct;
    if (sched_getaffinity(0, sizeof(mask), &mask) == 0) {
      for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
        if (CPU_ISSET(processor, &mask)) distinct.insert(CoreOf(processor));
      }
    }
    int count = std::max<int>(1, static_cast<int>(distinct.size()));
    if (const double quota = CgroupCpuQuota(); quota > 0) count = std::min(count, static_cast<int>(std::ceil(quota)));
    return std::max(1, count);
  }();
  return cores;
}

}  // namespace fedglm
