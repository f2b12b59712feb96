// A control group with a memory limit, to measure programs on a smaller machine than this one.
#pragma once

#include <cstdint>
#include <filesystem>

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

}  // namespace fedglm::bench
