// Reads ranges of a file into memory in the background, many at once, and around the page cache where the file system
// allows it: what is read once a token must not push out what is used all the time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/status.h"

namespace fedglm {

enum class ReadMethod {
  kUring,      // io_uring with O_DIRECT: one thread, many reads under way
  kThreads,    // pread with O_DIRECT, several threads
  kPageCache,  // pread through the page cache, whose pages are dropped right after
};
std::string_view ReadMethodName(ReadMethod method);

// Offset, size and address are multiples of kReadAlignment. A part past the file's end is not read.
struct ReadSegment {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::byte* to = nullptr;
};

// Thread-safe. Requests are read in the order they were made, except that the reads of a few overlap.
class FileReader {
 public:
  // Called once for each request, from a thread of the reader's: ok when all its bytes are there. BadFile if the file
  // became shorter, Failed for the disk's errors. Not called any more once the reader is being destroyed.
  using Done = std::function<void(uint64_t id, const absl::Status& status)>;

  // Without `method`: the first of the three that works here.
  // Failed if `method` is given and does not work here.
  static absl::StatusOr<std::unique_ptr<FileReader>> Open(const std::filesystem::path& path,
                                                          std::optional<ReadMethod> method, Done done);
  // Waits for the reads that are under way; the memory they write to must live until then.
  virtual ~FileReader() = default;

  // `id` must not be one that is under way.
  virtual void Read(uint64_t id, std::span<const ReadSegment> segments) = 0;
  virtual ReadMethod method() const = 0;
  virtual uint64_t file_bytes() const = 0;  // when it was opened
  virtual int descriptor() const = 0;
  virtual uint64_t bytes_read() const = 0;  // since it was opened
};

}  // namespace fedglm
