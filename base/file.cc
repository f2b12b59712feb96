#include "base/file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace fedglm {
namespace {

// O_NONBLOCK is nothing to a regular file; without it, opening a pipe that nobody writes to waits for ever.
constexpr int kReadOnly = O_RDONLY | O_CLOEXEC | O_NONBLOCK;

// Closes a descriptor at the end of a scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Not NotFound where a folder is missing: that is an input's.
absl::Status OutputError(std::string_view what, int error_number) {
  return FailedError(Message(ErrnoError(what, error_number)));
}

absl::Status WriteAll(int fd, std::string_view contents, const std::string& name) {
  while (!contents.empty()) {
    const ssize_t written = ::write(fd, contents.data(), contents.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return OutputError(name, errno);
    contents.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

std::filesystem::path ParentOf(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

absl::StatusOr<uint64_t> SizeOfRegularFile(int fd, const std::string& name) {
  struct stat facts;
  if (::fstat(fd, &facts) != 0) return ErrnoError(name, errno);
  if (!S_ISREG(facts.st_mode)) return BadFileError(name + ": not a regular file");
  return static_cast<uint64_t>(facts.st_size);
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, uint64_t max_bytes) {
  const std::string name = path.string();
  const auto too_large = [&] {
    return BadFileError(name + ": larger than the allowed " + std::to_string(max_bytes) + " bytes");
  };
  Descriptor fd(::open(path.c_str(), kReadOnly));
  if (fd.get() < 0) return ErrnoError(name, errno);
  FEDGLM_ASSIGN_OR_RETURN(const uint64_t size, SizeOfRegularFile(fd.get(), name));
  if (size > max_bytes) return too_large();
  std::string contents;
  contents.resize(static_cast<size_t>(size));
  size_t done = 0;
  while (true) {
    // Some bytes more than expected, so that a file that grows meanwhile (or says it has no size) is read to its end.
    if (done > max_bytes) return too_large();
    if (done == contents.size()) contents.resize(done + (done == 0 ? 65536 : 4096));
    const ssize_t count = ::read(fd.get(), contents.data() + done, contents.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError(name, errno);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  contents.resize(done);
  return contents;
}

absl::Status SyncDirectory(const std::filesystem::path& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return OutputError(path.string(), errno);
  if (::fsync(fd.get()) != 0 && errno != EINVAL) return OutputError(path.string(), errno);
  return absl::OkStatus();
}

absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view contents, int mode) {
  const std::string name = path.string();
  std::string temporary = name + ".XXXXXX";
  Descriptor fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (fd.get() < 0) return OutputError(name, errno);
  absl::Status status = WriteAll(fd.get(), contents, name);
  if (status.ok() && ::fchmod(fd.get(), static_cast<mode_t>(mode)) != 0) status = OutputError(name, errno);
  if (status.ok() && ::fsync(fd.get()) != 0) status = OutputError(name, errno);
  if (status.ok() && ::close(fd.Release()) != 0) status = OutputError(name, errno);
  if (status.ok() && ::rename(temporary.c_str(), name.c_str()) != 0) status = OutputError(name, errno);
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  return SyncDirectory(ParentOf(path));
}

absl::Status WriteNewFile(const std::filesystem::path& path, std::string_view contents) {
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(path, error))) {
    return FailedError(path.string() + ": is there already, and is not overwritten");
  }
  if (path.has_parent_path()) FEDGLM_RETURN_IF_ERROR(MakeDirectories(path.parent_path()));
  return WriteFileAtomically(path, contents);
}

absl::Status MakeDirectories(const std::filesystem::path& path, int mode) {
  if (path.empty()) return absl::OkStatus();
  struct stat facts;
  if (::stat(path.c_str(), &facts) == 0) {
    if (S_ISDIR(facts.st_mode)) return absl::OkStatus();
    return FailedError(path.string() + ": is there and is not a folder");
  }
  const std::filesystem::path parent = path.parent_path();
  if (!parent.empty() && parent != path) FEDGLM_RETURN_IF_ERROR(MakeDirectories(parent, mode));
  if (::mkdir(path.c_str(), static_cast<mode_t>(mode)) != 0 && errno != EEXIST) {
    return OutputError(path.string(), errno);
  }
  return absl::OkStatus();
}

absl::Status ReplaceDirectory(const std::filesystem::path& from, const std::filesystem::path& to) {
  FEDGLM_RETURN_IF_ERROR(SyncDirectory(from));
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno != EEXIST && errno != EINVAL) return OutputError(to.string(), errno);
    std::error_code ignored;
    if (std::filesystem::exists(to, ignored) && !std::filesystem::is_directory(to, ignored)) {
      return FailedError(to.string() + ": is there and is not a folder");
    }
    // The old folder is there: exchange the two in one step, then remove the old one under the new one's old name.
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) != 0) {
      return OutputError(to.string(), errno);
    }
    std::filesystem::remove_all(from, ignored);
  }
  return SyncDirectory(ParentOf(to));
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  const std::string name = path.string();
  Descriptor fd(::open(path.c_str(), kReadOnly));
  if (fd.get() < 0) return ErrnoError(name, errno);
  FEDGLM_ASSIGN_OR_RETURN(const uint64_t size, SizeOfRegularFile(fd.get(), name));
  MappedFile file;
  file.path_ = path;
  if (size == 0) return file;
  void* const data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return ErrnoError(name, errno);
  file.data_ = static_cast<const std::byte*>(data);
  file.size_ = static_cast<size_t>(size);
  file.guard_ = MappingGuard::Watch(file.bytes());
  return file;
}

absl::Status MappedFile::CheckIntact() const {
  if (!guard_.broken()) return absl::OkStatus();
  return BadFileError(path_.string() + ": the file became shorter while it was used, or cannot be read");
}

void MappedFile::Unmap() {
  guard_ = MappingGuard();  // first: the addresses may be somebody else's right after
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)),
      guard_(std::move(other.guard_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    Unmap();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    path_ = std::move(other.path_);
    guard_ = std::move(other.guard_);
  }
  return *this;
}

MappedFile::~MappedFile() { Unmap(); }

absl::StatusOr<TemporaryDirectory> TemporaryDirectory::Make(std::string_view prefix) {
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::temp_directory_path(error);
  std::string name = (error ? std::filesystem::path("/tmp") : parent).string() + "/" + std::string(prefix) + ".XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) return OutputError(name, errno);
  return TemporaryDirectory(std::filesystem::path(name));
}

TemporaryDirectory::TemporaryDirectory(TemporaryDirectory&& other) noexcept
    : path_(std::exchange(other.path_, std::filesystem::path())) {}

TemporaryDirectory& TemporaryDirectory::operator=(TemporaryDirectory&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

TemporaryDirectory::~TemporaryDirectory() {
  if (path_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace fedglm
