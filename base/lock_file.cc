#include "base/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

namespace fedglm {

absl::StatusOr<LockFile> LockFile::Take(const std::filesystem::path& path, std::string busy) {
  LockFile lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock.file_ < 0) return ErrnoError(path.string(), errno);
  if (flock(lock.file_, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return ErrnoError(path.string(), errno);
  return UnreachableError(std::move(busy));
}

LockFile::~LockFile() {
  if (file_ >= 0) close(file_);
}

}  // namespace fedglm
