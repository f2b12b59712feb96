#include "bench/page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/file.h"

namespace fedglm::bench {
namespace {

absl::StatusOr<int> OpenForReading(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoError(path.string(), errno);
  return fd;
}

}  // namespace

absl::Status WarmPageCache(const std::filesystem::path& path) {
  FEDGLM_ASSIGN_OR_RETURN(const int fd, OpenForReading(path));
  std::vector<char> buffer(size_t{4} << 20);
  ssize_t count;
  do {
    count = read(fd, buffer.data(), buffer.size());
  } while (count > 0 || (count < 0 && errno == EINTR));
  const int error = count < 0 ? errno : 0;
  close(fd);
  return error == 0 ? absl::OkStatus() : ErrnoError(path.string(), error);
}

absl::Status DropFromPageCache(const std::filesystem::path& path) {
  FEDGLM_ASSIGN_OR_RETURN(const int fd, OpenForReading(path));
  fdatasync(fd);  // dirty pages cannot be dropped
  const int error = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
  return error == 0 ? absl::OkStatus() : ErrnoError(path.string(), error);
}

absl::StatusOr<double> ResidentShare(const std::filesystem::path& path) {
  FEDGLM_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((file.bytes().size() + page - 1) / page);
  if (pages.empty()) return 1.0;
  if (mincore(const_cast<std::byte*>(file.bytes().data()), file.bytes().size(), pages.data()) != 0) {
    return ErrnoError(path.string(), errno);
  }
  const auto resident = std::count_if(pages.begin(), pages.end(), [](unsigned char flags) { return (flags & 1) != 0; });
  return static_cast<double>(resident) / static_cast<double>(pages.size());
}

}  // namespace fedglm::bench
