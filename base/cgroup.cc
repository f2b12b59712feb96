#include "base/cgroup.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

namespace fedglm {
namespace {

constexpr uint64_t kUnlimited = uint64_t{1} << 60;

// This process's folder for a controller below /sys/fs/cgroup: version 2 if `controller` is empty.
std::string GroupFolder(const KernelFolders& folders, const std::string& controller) {
  std::ifstream file(folders.proc + "/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controller.empty() ? controllers == ",," : controllers.find("," + controller + ",") != std::string::npos) {
      return folders.cgroup + (controller.empty() ? "" : "/" + controller) + line.substr(second + 1);
    }
  }
  return "";
}

// The first number in a file; `fallback` if there is none ("max").
uint64_t NumberIn(const std::string& path, uint64_t fallback) {
  std::ifstream file(path);
  uint64_t number;
  return file >> number ? number : fallback;
}

// The value of "key value" in a file such as memory.stat.
uint64_t FieldIn(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string name;
  for (uint64_t value; file >> name >> value;) {
    if (name == key) return value;
  }
  return 0;
}

// A limit, and the folder it stands in.
struct Limit {
  uint64_t bytes = kUnlimited;
  std::string folder;
  bool version2 = true;
};

// From the group up to the root; groups without a limit are left out.
std::vector<Limit> LimitsOf(const KernelFolders& folders, bool version2) {
  std::vector<Limit> limits;
  std::string folder = GroupFolder(folders, version2 ? "" : "memory");
  const char* const file = version2 ? "/memory.max" : "/memory.limit_in_bytes";
  while (folder.size() > folders.cgroup.size()) {
    const uint64_t bytes = NumberIn(folder + file, kUnlimited);
    if (bytes < kUnlimited) limits.push_back({bytes, folder, version2});
    folder.resize(folder.find_last_of('/'));
  }
  return limits;
}

std::vector<Limit> AllLimits(const KernelFolders& folders) {
  std::vector<Limit> limits = LimitsOf(folders, true);
  for (Limit& limit : LimitsOf(folders, false)) limits.push_back(std::move(limit));
  return limits;
}

Limit LowestLimit(const KernelFolders& folders) {
  Limit lowest;
  for (const Limit& limit : AllLimits(folders)) {
    if (limit.bytes < lowest.bytes) lowest = limit;
  }
  return lowest;
}

uint64_t UsedIn(const Limit& limit) {
  if (limit.folder.empty()) return 0;
  const uint64_t used = NumberIn(limit.folder + (limit.version2 ? "/memory.current" : "/memory.usage_in_bytes"), 0);
  const uint64_t droppable =
      FieldIn(limit.folder + "/memory.stat", limit.version2 ? "inactive_file" : "total_inactive_file") +
      FieldIn(limit.folder + "/memory.stat", limit.version2 ? "active_file" : "total_active_file");
  return used - std::min(used, droppable);
}

// The lowest quota from the group up to the root that `quota_in` finds in the folders; 0: none.
template <typename QuotaIn>
double LowestQuota(const std::string& root, std::string folder, const QuotaIn& quota_in) {
  double lowest = 0;
  while (folder.size() > root.size()) {
    if (const double quota = quota_in(folder); quota > 0 && (lowest == 0 || quota < lowest)) lowest = quota;
    folder.resize(folder.find_last_of('/'));
  }
  return lowest;
}

}  // namespace

double CgroupCpuQuota() {
  const KernelFolders folders;
  const std::string second = GroupFolder(folders, ""), first = GroupFolder(folders, "cpu");
  const double quota = LowestQuota(folders.cgroup, second, [](const std::string& folder) {
    std::ifstream file(folder + "/cpu.max");
    double quota, period;
    return file >> quota >> period && period > 0 ? quota / period : 0;  // "max 100000": no limit
  });
  const double first_quota = LowestQuota(folders.cgroup, first, [](const std::string& folder) {
    const uint64_t quota_us = NumberIn(folder + "/cpu.cfs_quota_us", 0);  // "-1", read as a huge number: no limit
    const uint64_t period_us = NumberIn(folder + "/cpu.cfs_period_us", 0);
    if (quota_us > kUnlimited || period_us == 0) return 0.0;
    return static_cast<double>(quota_us) / static_cast<double>(period_us);
  });
  return quota == 0 || first_quota == 0 ? std::max(quota, first_quota) : std::min(quota, first_quota);
}

uint64_t CgroupMemoryLimit(const KernelFolders& folders) {
  const uint64_t bytes = LowestLimit(folders).bytes;
  return bytes >= kUnlimited ? 0 : bytes;
}

uint64_t CgroupMemoryUsed(const KernelFolders& folders) { return UsedIn(LowestLimit(folders)); }

std::vector<CgroupMemory> CgroupMemoryLimits(const KernelFolders& folders) {
  std::vector<CgroupMemory> groups;
  for (const Limit& limit : AllLimits(folders)) groups.push_back({limit.bytes, UsedIn(limit)});
  return groups;
}

std::string CgroupMemoryPressureFile(const KernelFolders& folders) {
  const std::string folder = GroupFolder(folders, "");
  if (folder.empty()) return "";
  const std::string file = folder + "/memory.pressure";
  std::error_code error;
  return std::filesystem::exists(file, error) ? file : "";
}

}  // namespace fedglm
