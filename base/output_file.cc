#include "base/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "base/file.h"

namespace fedglm {

// A folder that is missing is no missing input: always Failed.
absl::Status OutputFile::Error(int error_number) const {
  return FailedError(Message(ErrnoError(path_.string(), error_number)));
}

absl::StatusOr<OutputFile> OutputFile::Create(const std::filesystem::path& path) {
  OutputFile file;
  file.path_ = path;
  struct stat facts;
  if (::stat(path.c_str(), &facts) == 0 && !S_ISREG(facts.st_mode)) {
    return FailedError(path.string() + ": is there and is no regular file");
  }
  file.temporary_ = path.string() + ".XXXXXX";
  file.fd_ = ::mkostemp(file.temporary_.data(), O_CLOEXEC);
  if (file.fd_ < 0) {
    file.temporary_.clear();
    return file.Error(errno);
  }
  return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept { *this = std::move(other); }

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(fd_, other.fd_);
  return *this;
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

absl::Status OutputFile::Append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Error(errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Finish() {
  if (::fchmod(fd_, 0644) != 0 || ::fsync(fd_) != 0) return Error(errno);
  if (::close(std::exchange(fd_, -1)) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) return Error(errno);
  temporary_.clear();
  return SyncDirectory(path_.has_parent_path() ? path_.parent_path() : ".");
}

}  // namespace fedglm
