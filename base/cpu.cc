#include "base/cpu.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <map>
#include <memory>

#include "base/cgroup.h"

namespace fedglm {
namespace {

constexpr int kMostProcessors = 1 << 16;  // more than Linux can be built for

struct FreeCpuSet {
  void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};
using CpuSet = std::unique_ptr<cpu_set_t, FreeCpuSet>;

std::string FirstLine(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The list of processors that share the highest level of cache with this one, as the kernel writes it ("0-7,64-71").
std::string LastLevelCacheOf(const std::filesystem::path& processor) {
  std::string shared;
  int highest = 0;
  for (int index = 0;; ++index) {
    const std::filesystem::path cache = processor / "cache" / ("index" + std::to_string(index));
    std::ifstream file(cache / "level");
    int level = 0;
    if (!(file >> level)) return shared;
    if (level <= highest) continue;
    highest = level;
    shared = FirstLine(cache / "shared_cpu_list");
  }
}

int WithinQuota(size_t count) {
  const int most = std::max(1, static_cast<int>(count));
  const double quota = CgroupCpuQuota();
  return quota > 0 ? std::clamp(static_cast<int>(std::ceil(quota)), 1, most) : most;
}

}  // namespace

int UsablePhysicalCores() {
  static const int cores = WithinQuota(CoresOf(AllowedProcessors()).size());
  return cores;
}

int UsableProcessors() {
  static const int processors = WithinQuota(AllowedProcessors().size());
  return processors;
}

std::string CpuModelName(const std::filesystem::path& cpuinfo) {
  std::ifstream file(cpuinfo);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    // Arm's kernels give no model's name but numbers of implementer and part, of which the part tells cores apart.
    const bool named = line.rfind("model name", 0) == 0 || line.rfind("CPU part", 0) == 0;
    if (!named || colon == std::string::npos) continue;
    const size_t first = line.find_first_not_of(" \t", colon + 1);
    if (first != std::string::npos) return line.substr(first);
  }
  return "unknown";
}

std::vector<int> AllowedProcessors() {
  // The kernel refuses a mask that has no room for all processors it was built for.
  for (int room = CPU_SETSIZE; room <= kMostProcessors; room *= 2) {
    const CpuSet mask(CPU_ALLOC(static_cast<size_t>(room)));
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(room));
    if (mask == nullptr) return {};
    CPU_ZERO_S(bytes, mask.get());
    if (sched_getaffinity(0, bytes, mask.get()) != 0) {
      if (errno == EINVAL) continue;
      return {};
    }
    std::vector<int> processors;
    for (int processor = 0; processor < room; ++processor) {
      if (CPU_ISSET_S(static_cast<size_t>(processor), bytes, mask.get())) processors.push_back(processor);
    }
    return processors;
  }
  return {};
}

bool AllowProcessors(const std::vector<int>& processors) {
  if (processors.empty()) return false;
  const auto room = static_cast<size_t>(*std::max_element(processors.begin(), processors.end()) + 1);
  const CpuSet mask(CPU_ALLOC(room));
  const size_t bytes = CPU_ALLOC_SIZE(room);
  if (mask == nullptr) return false;
  CPU_ZERO_S(bytes, mask.get());
  for (const int processor : processors) CPU_SET_S(static_cast<size_t>(processor), bytes, mask.get());
  return sched_setaffinity(0, bytes, mask.get()) == 0;
}

std::vector<Core> CoresOf(const std::vector<int>& processors, const std::filesystem::path& topology) {
  std::vector<Core> cores;
  std::map<std::string, size_t> core_of;  // by the kernel's list of its hyper-threads
  std::map<std::string, int> cache_of;
  for (const int processor : processors) {
    const std::filesystem::path folder = topology / ("cpu" + std::to_string(processor));
    std::string siblings = FirstLine(folder / "topology" / "thread_siblings_list");
    if (siblings.empty()) siblings = "processor " + std::to_string(processor);
    const auto [place, is_new] = core_of.emplace(std::move(siblings), cores.size());
    if (is_new) {
      const auto cache = cache_of.emplace(LastLevelCacheOf(folder), static_cast<int>(cache_of.size())).first;
      cores.push_back({{}, cache->second});
    }
    cores[place->second].processors.push_back(processor);
  }
  return cores;
}

std::vector<Core> PlaceThreads(const std::vector<Core>& cores, int threads, int near) {
  if (cores.empty()) return {};
  const auto has_near = [&](const Core& core) {
    return std::find(core.processors.begin(), core.processors.end(), near) != core.processors.end();
  };
  const auto own = std::find_if(cores.begin(), cores.end(), has_near);
  const int home = own != cores.end() ? own->cache : cores.front().cache;
  std::vector<Core> order = cores;
  // Own core, own cache, the rest: each by cache, and as they were within one.
  std::stable_sort(order.begin(), order.end(), [&](const Core& a, const Core& b) {
    const auto rank = [&](const Core& core) { return has_near(core) ? 0 : core.cache == home ? 1 : 2; };
    return rank(a) != rank(b) ? rank(a) < rank(b) : a.cache < b.cache;
  });
  std::vector<Core> placed;
  for (int thread = 0; thread < threads; ++thread) placed.push_back(order[static_cast<size_t>(thread) % order.size()]);
  return placed;
}

}  // namespace fedglm
