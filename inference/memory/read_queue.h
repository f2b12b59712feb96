// What the ways of reading share: requests cut into pieces, handed out in order, put together again.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>

#include "base/thread_annotations.h"
#include "inference/memory/file_reader.h"

namespace fedglm {

// A part of a request that is read at once.
struct ReadPiece {
  uint64_t id = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;   // to ask for: a multiple of kReadAlignment
  uint64_t wanted = 0;  // that the file has of them
  std::byte* to = nullptr;
};

// Thread-safe.
class ReadQueue {
 public:
  ReadQueue(std::filesystem::path path, uint64_t file_bytes, FileReader::Done done)
      : path_(std::move(path)), file_bytes_(file_bytes), done_(std::move(done)) {}

  void Add(uint64_t id, std::span<const ReadSegment> segments);
  // Waits for a piece; false: stopped.
  bool Next(ReadPiece& piece);
  // False: there is none now.
  bool TryNext(ReadPiece& piece);
  // What a read of `piece` gave: a count of bytes, or -errno. True: the piece is done, well or badly. False: it has
  // been shortened to what is still to be read.
  bool Advance(ReadPiece& piece, int64_t result);
  void Stop();

  uint64_t file_bytes() const { return file_bytes_; }
  uint64_t bytes_read() const { return bytes_read_.load(std::memory_order_relaxed); }

 private:
  struct Request {
    uint64_t pieces = 0;  // not done
    absl::Status status;
  };
  void Finish(const ReadPiece& piece, const absl::Status& status);

  const std::filesystem::path path_;
  const uint64_t file_bytes_;
  const FileReader::Done done_;
  std::atomic<uint64_t> bytes_read_ = 0;
  Mutex mutex_;
  std::condition_variable added_;
  std::deque<ReadPiece> pieces_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Request> requests_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

// The readers. `descriptor` becomes theirs.
absl::StatusOr<std::unique_ptr<FileReader>> MakeUringReader(int descriptor, std::unique_ptr<ReadQueue> queue);
std::unique_ptr<FileReader> MakeThreadReader(int descriptor, bool direct, std::unique_ptr<ReadQueue> queue);

}  // namespace fedglm
