#include "inference/memory/file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "inference/memory/read_queue.h"
#include "inference/memory/weight_layout.h"

namespace fedglm {
namespace {

// A file system may take O_DIRECT when the file is opened and refuse it when it is read.
bool ReadsAroundPageCache(int descriptor) {
  void* const block = std::aligned_alloc(kReadAlignment, kReadAlignment);
  if (block == nullptr) return false;
  ssize_t count;
  do {
    count = pread(descriptor, block, kReadAlignment, 0);
  } while (count < 0 && errno == EINTR);
  std::free(block);
  return count >= 0;
}

// -1 if the file cannot be read that way.
int OpenDirect(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_DIRECT);
  if (descriptor < 0) return -1;
  if (ReadsAroundPageCache(descriptor)) return descriptor;
  close(descriptor);
  return -1;
}

absl::StatusOr<uint64_t> SizeOf(const std::filesystem::path& path) {
  struct stat facts;
  if (stat(path.c_str(), &facts) != 0) return ErrnoError(path.string(), errno);
  if (!S_ISREG(facts.st_mode)) return BadFileError(path.string() + ": not a regular file");
  return static_cast<uint64_t>(facts.st_size);
}

}  // namespace

std::string_view ReadMethodName(ReadMethod method) {
  switch (method) {
    case ReadMethod::kUring:
      return "io_uring, around the page cache";
    case ReadMethod::kThreads:
      return "pread, around the page cache";
    case ReadMethod::kPageCache:
      return "pread, through the page cache";
  }
  return "";
}

absl::StatusOr<std::unique_ptr<FileReader>> FileReader::Open(const std::filesystem::path& path,
                                                             std::optional<ReadMethod> method, Done done) {
  FEDGLM_ASSIGN_OR_RETURN(const uint64_t size, SizeOf(path));
  const auto queue = [&] { return std::make_unique<ReadQueue>(path, size, done); };
  if (method != ReadMethod::kPageCache) {
    const int direct = OpenDirect(path);
    if (direct >= 0 && method != ReadMethod::kThreads) {
      absl::StatusOr<std::unique_ptr<FileReader>> reader = MakeUringReader(dup(direct), queue());
      if (reader.ok() || method.has_value()) {
        close(direct);
        return reader;
      }
    }
    if (direct >= 0) return MakeThreadReader(direct, true, queue());
    if (method.has_value()) {
      return FailedError(path.string() + ": its file system does not read around the page cache (O_DIRECT)");
    }
  }
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return ErrnoError(path.string(), errno);
  // No reading ahead of what is asked for: it would stay in the page cache.
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM);
  return MakeThreadReader(descriptor, false, queue());
}

}  // namespace fedglm
