// Another program that takes memory for a while, in the server's control group.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/status.h"

namespace fedglm::soak {

struct HogOptions {
  std::filesystem::path group;  // of the server
  uint64_t limit = 0;           // its bytes
  double part_left = 0;         // of the limit; what is given back meanwhile is taken too, until it is enough
  std::chrono::milliseconds taking{0}, keeping{0};  // the time to come there first, and to stay there afterwards
};

// A child process. The kernel is told to end it before any other process, should the group run out of memory.
class MemoryHog {
 public:
  enum class End { kKeptIt, kKilled };  // kKilled: by the kernel, because the group had no memory left

  static absl::StatusOr<MemoryHog> Start(const HogOptions& options);
  MemoryHog(MemoryHog&& other) noexcept;
  MemoryHog& operator=(MemoryHog&&) = delete;
  ~MemoryHog();  // ends it

  // It takes no more, keeps what it has for `keeping`, and ends.
  void Enough();
  bool Ended();
  // After Ended(). Failed if it could not join the group.
  absl::StatusOr<End> Outcome() const;

 private:
  MemoryHog(const HogOptions& options, std::atomic<bool>* enough) : options_(options), enough_(enough) {}

  HogOptions options_;
  std::atomic<bool>* enough_;  // shared with the child
  pid_t child_ = -1;
  std::optional<int> status_;  // of waitpid, when it has ended
};

}  // namespace fedglm::soak
