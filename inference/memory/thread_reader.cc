// Reads with pread, several threads side by side: where there is no io_uring.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>
#include <vector>

#include "inference/memory/read_queue.h"

namespace fedglm {
namespace {

// As many reads as a usual disk needs under way to be at its full speed; the threads sleep in the kernel.
constexpr int kThreads = 8;

class ThreadReader : public FileReader {
 public:
  ThreadReader(int descriptor, bool direct, std::unique_ptr<ReadQueue> queue)
      : descriptor_(descriptor), direct_(direct), queue_(std::move(queue)) {
    try {
      for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { Run(); });
    } catch (const std::system_error&) {
      if (threads_.empty()) throw;  // with fewer it is slower, with none it never ends
    }
  }

  ~ThreadReader() override {
    queue_->Stop();
    for (std::thread& thread : threads_) thread.join();
    close(descriptor_);
  }

  void Read(uint64_t id, std::span<const ReadSegment> segments) override { queue_->Add(id, segments); }
  ReadMethod method() const override { return direct_ ? ReadMethod::kThreads : ReadMethod::kPageCache; }
  uint64_t file_bytes() const override { return queue_->file_bytes(); }
  int descriptor() const override { return descriptor_; }
  uint64_t bytes_read() const override { return queue_->bytes_read(); }

 private:
  void Run() {
    for (ReadPiece piece; queue_->Next(piece);) {
      while (true) {
        const off_t offset = static_cast<off_t>(piece.offset);
        ssize_t result = pread(descriptor_, piece.to, piece.bytes, offset);
        if (result < 0) result = -errno;
        if (!direct_) posix_fadvise(descriptor_, offset, static_cast<off_t>(piece.bytes), POSIX_FADV_DONTNEED);
        if (queue_->Advance(piece, result)) break;
      }
    }
  }

  const int descriptor_;
  const bool direct_;
  const std::unique_ptr<ReadQueue> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<FileReader> MakeThreadReader(int descriptor, bool direct, std::unique_ptr<ReadQueue> queue) {
  return std::make_unique<ThreadReader>(descriptor, direct, std::move(queue));
}

}  // namespace fedglm
