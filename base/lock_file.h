// A lock that one process holds at a time, on a file beside what it protects.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include "base/status.h"

namespace fedglm {

// Held until destroyed, and by the kernel only (flock): a killed process leaves it free. The file stays, empty.
class LockFile {
 public:
  // Makes `path` (mode 0600) if it is not there. Unreachable with the message `busy` if another LockFile has it, of
  // this process or any other.
  static absl::StatusOr<LockFile> Take(const std::filesystem::path& path, std::string busy);
  LockFile(LockFile&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  LockFile& operator=(LockFile&&) = delete;
  ~LockFile();

 private:
  explicit LockFile(int file) : file_(file) {}
  int file_;
};

}  // namespace fedglm
