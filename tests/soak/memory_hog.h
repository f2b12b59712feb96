// Another program that takes memory for a while, in the server's control group.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "base/status.h"

namespace fedglm::soak {

struct HogOutcome {
  uint64_t taken_bytes = 0;
  bool killed = false;  // by the kernel, because the group had no memory left
};

// Forks a child that joins `group` and takes memory until only `part_left` of `limit` is left, keeps it for `time`, and
// ends. Waits for it. The kernel is told to end it before any other process, should the group run out. Failed if it
// cannot join.
absl::StatusOr<HogOutcome> TakeMemory(const std::filesystem::path& group, uint64_t limit, double part_left,
                                      std::chrono::milliseconds time);

}  // namespace fedglm::soak
