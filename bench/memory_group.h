// A control group with a memory limit, to measure programs on a smaller machine than this one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"

namespace fedglm::bench {

// cgroup version 2 where it has the memory controller, else version 1. Removed when destroyed. Not thread-safe.
class MemoryGroup {
 public:
  // Page cache counts into the limit; nothing is swapped. Refused without the right to make a control group (root).
  static absl::StatusOr<MemoryGroup> Create(uint64_t limit_bytes);
  MemoryGroup(MemoryGroup&& other) noexcept;
  MemoryGroup& operator=(MemoryGroup&&) = delete;
  ~MemoryGroup();

  const std::filesystem::path& folder() const { return folder_; }

 private:
  explicit MemoryGroup(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path folder_;
};

inline constexpr int kCannotJoinGroup = 126;

// `command` so that it runs in the group: a shell joins it and becomes the program, of which nothing is charged
// elsewhere. It ends with kCannotJoinGroup where it may not. `group` empty: `command` as it is.
std::vector<std::string> InMemoryGroup(const std::filesystem::path& group, std::vector<std::string> command);

}  // namespace fedglm::bench
