// Reads with io_uring: one thread keeps many pieces under way.
#include <liburing.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "inference/memory/read_queue.h"

namespace fedglm {
namespace {

constexpr unsigned kDepth = 16;  // pieces under way

class UringReader : public FileReader {
 public:
  UringReader(int descriptor, std::unique_ptr<ReadQueue> queue, const io_uring& ring)
      : descriptor_(descriptor), queue_(std::move(queue)), ring_(ring), thread_([this] { Run(); }) {}

  ~UringReader() override {
    queue_->Stop();
    thread_.join();
    io_uring_queue_exit(&ring_);
    close(descriptor_);
  }

  void Read(uint64_t id, std::span<const ReadSegment> segments) override { queue_->Add(id, segments); }
  ReadMethod method() const override { return ReadMethod::kUring; }
  uint64_t file_bytes() const override { return queue_->file_bytes(); }
  int descriptor() const override { return descriptor_; }
  uint64_t bytes_read() const override { return queue_->bytes_read(); }

 private:
  void Submit(size_t place) {
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);  // there is one: as many as places
    const ReadPiece& piece = places_[place];
    io_uring_prep_read(entry, descriptor_, piece.to, static_cast<unsigned>(piece.bytes), piece.offset);
    io_uring_sqe_set_data(entry, reinterpret_cast<void*>(place));
  }

  void Run() {
    std::vector<size_t> free;
    for (size_t place = 0; place < kDepth; ++place) free.push_back(place);
    while (true) {
      while (!free.empty()) {
        const bool idle = free.size() == kDepth;
        if (!(idle ? queue_->Next(places_[free.back()]) : queue_->TryNext(places_[free.back()]))) break;
        Submit(free.back());
        free.pop_back();
      }
      if (free.size() == kDepth) return;  // stopped
      const int submitted = io_uring_submit_and_wait(&ring_, 1);
      if (submitted < 0 && submitted != -EINTR) {
        // The kernel is short of memory for a moment; what it has not taken stays in the ring.
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      io_uring_cqe* completion;
      while (io_uring_peek_cqe(&ring_, &completion) == 0) {
        const size_t place = reinterpret_cast<size_t>(io_uring_cqe_get_data(completion));
        const int64_t result = completion->res;
        io_uring_cqe_seen(&ring_, completion);
        if (queue_->Advance(places_[place], result)) {
          free.push_back(place);
        } else {
          Submit(place);
        }
      }
    }
  }

  const int descriptor_;
  const std::unique_ptr<ReadQueue> queue_;
  io_uring ring_;
  std::array<ReadPiece, kDepth> places_;
  std::thread thread_;  // last: it uses all the others
};

}  // namespace

absl::StatusOr<std::unique_ptr<FileReader>> MakeUringReader(int descriptor, std::unique_ptr<ReadQueue> queue) {
  io_uring ring;
  // Refused by old kernels, by the seccomp profile of most containers, and by kernel.io_uring_disabled.
  if (const int error = io_uring_queue_init(kDepth, &ring, 0); error != 0) {
    close(descriptor);
    return FailedError(std::string("io_uring: ") + std::strerror(-error));
  }
  return std::unique_ptr<FileReader>(new UringReader(descriptor, std::move(queue), ring));
}

}  // namespace fedglm
