#include "inference/memory/weight_streamer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/configuration.h"
#include "base/log.h"
#include "base/memory.h"

namespace fedglm {
namespace {

// Files are compared by their first page, where a GGUF has its header and metadata.
constexpr size_t kComparedBytes = kReadAlignment;

}  // namespace

WeightStreamer::WeightStreamer(std::shared_ptr<const GgufFile> file, WeightLayout layout,
                               const StreamerOptions& options)
    : file_(std::move(file)),
      layout_(std::move(layout)),
      options_(options),
      order_(PinningOrder(layout_.output())),
      pinned_(order_.size(), false),
      presence_(order_.size(), Presence::kAbsent),
      locked_(order_.size(), 0),
      read_error_(order_.size()) {}

absl::StatusOr<std::unique_ptr<WeightStreamer>> WeightStreamer::Make(std::shared_ptr<const GgufFile> file,
                                                                     WeightLayout layout, int64_t pinned,
                                                                     const StreamerOptions& options) {
  std::unique_ptr<WeightStreamer> streamer(new WeightStreamer(std::move(file), std::move(layout), options));
  {
    MutexLock lock(streamer->mutex_);
    const int64_t count = std::clamp<int64_t>(pinned, 0, static_cast<int64_t>(streamer->order_.size()));
    if (count < static_cast<int64_t>(streamer->order_.size())) FEDGLM_RETURN_IF_ERROR(streamer->OpenRing());
    streamer->Apply(count);
  }
  streamer->thread_ = std::thread([self = streamer.get()] { self->BringInAwaited(); });
  return streamer;
}

WeightStreamer::~WeightStreamer() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  MutexLock lock(mutex_);
  for (int64_t layer = 0; layer <= layout_.output(); ++layer) Unlock(layer);
}

absl::StatusOr<ptrdiff_t> WeightStreamer::Acquire(int64_t layer) {
  FEDGLM_RETURN_IF_ERROR(file_->CheckIntact());
  const size_t index = static_cast<size_t>(layer);
  bool pinned;
  {
    MutexLock lock(mutex_);
    while (changing_ || (pinned_[index] && presence_[index] == Presence::kAwaited)) lock.Wait(changed_);
    pinned = pinned_[index];
    if (pinned && !read_error_[index].ok()) return read_error_[index];
    ++in_use_;  // from here on the layer stays what it is
    next_layer_ = layer + 1;
  }
  if (pinned) return 0;
  const absl::StatusOr<std::byte*> slot = ring_->Take(layer);
  if (!slot.ok()) {
    MutexLock lock(mutex_);
    --in_use_;
    changed_.notify_all();
    return slot.status();
  }
  return *slot - (file_->bytes().data() + layout_.layers[index].begin());
}

void WeightStreamer::Release(int64_t layer) {
  MutexLock lock(mutex_);
  if (!pinned_[static_cast<size_t>(layer)]) ring_->GiveBack(layer);
  --in_use_;
  if (changing_) changed_.notify_all();
}

absl::Status WeightStreamer::SetPinned(int64_t count) {
  MutexLock lock(mutex_);
  count = std::clamp<int64_t>(count, 0, static_cast<int64_t>(order_.size()));
  while (changing_) lock.Wait(changed_);
  if (count == std::count(pinned_.begin(), pinned_.end(), true)) return absl::OkStatus();
  if (count < static_cast<int64_t>(order_.size())) FEDGLM_RETURN_IF_ERROR(OpenRing());
  changing_ = true;
  while (in_use_ > 0 || bringing_in_) lock.Wait(changed_);
  Apply(count);
  changing_ = false;
  changed_.notify_all();
  return absl::OkStatus();
}

StreamerStatistics WeightStreamer::Statistics() const {
  StreamerStatistics statistics;
  MutexLock lock(mutex_);
  for (size_t layer = 0; layer < pinned_.size(); ++layer) {
    if (pinned_[layer]) {
      ++statistics.pinned;
      statistics.pinned_bytes += layout_.layers[layer].bytes();
    } else {
      ++statistics.streamed;
    }
    statistics.locked_bytes += locked_[layer];
  }
  if (ring_ != nullptr) {
    statistics.streamed_bytes = ring_->reader().bytes_read();
    statistics.wait_seconds = ring_->wait_seconds();
  }
  return statistics;
}

absl::Status WeightStreamer::OpenRing() {
  if (ring_ != nullptr) return absl::OkStatus();
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<StreamRing> ring,
                          StreamRing::Open(file_->path(), layout_, options_.ring_slots, options_.method));
  FEDGLM_RETURN_IF_ERROR(CheckSameFile(ring->reader()));
  LogInfo("weights are streamed with " + std::string(ReadMethodName(ring->reader().method())));
  ring_ = std::move(ring);
  return absl::OkStatus();
}

absl::Status WeightStreamer::CheckSameFile(const FileReader& reader) const {
  const std::span<const std::byte> mapped = file_->bytes();
  // The reader's descriptor may want aligned reads: it is opened once more.
  const int descriptor = open(file_->path().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return ErrnoError(file_->path().string(), errno);
  std::byte first[kComparedBytes];
  const size_t wanted = std::min(sizeof(first), mapped.size());
  const ssize_t count = pread(descriptor, first, wanted, 0);
  close(descriptor);
  const bool same = reader.file_bytes() == mapped.size() && count == static_cast<ssize_t>(wanted) &&
                    std::memcmp(first, mapped.data(), wanted) == 0;
  return same ? absl::OkStatus()
              : BadFileError(file_->path().string() + ": the file was replaced while it was opened; try again");
}

void WeightStreamer::Apply(int64_t count) {
  std::vector<bool> pinned(order_.size(), false);
  for (int64_t i = 0; i < count; ++i) pinned[static_cast<size_t>(order_[static_cast<size_t>(i)])] = true;
  streams_ = count < static_cast<int64_t>(order_.size());
  // Without a layer to stream nothing of ours presses on the pages, and what other programs need the kernel may take:
  // locked, it would have to kill for it. Beside a ring the pinned part is what the budget promised to keep.
  std::vector<int64_t> streamed;
  awaited_.clear();
  for (int64_t layer = 0; layer <= layout_.output(); ++layer) {
    const size_t index = static_cast<size_t>(layer);
    const bool lock_lacks = streams_ && locked_[index] == 0 && !lock_warned_;
    if (!streams_) Unlock(layer);
    if (!pinned[index]) {
      streamed.push_back(layer);
      Unpin(layer);
    } else if (presence_[index] != Presence::kPresent || lock_lacks) {
      for (const FileRange& range : layout_.layers[index].ranges) AdviseHugePages(InMapping(range));
      if (presence_[index] != Presence::kPresent) presence_[index] = Presence::kAwaited;
      awaited_.push_back(layer);
    }
  }
  pinned_ = std::move(pinned);
  if (ring_ != nullptr) ring_->Start(std::move(streamed), next_layer_ > layout_.output() ? 0 : next_layer_);
  changed_.notify_all();
}

void WeightStreamer::Unpin(int64_t layer) {
  const size_t index = static_cast<size_t>(layer);
  const bool was_here = presence_[index] == Presence::kPresent;
  Unlock(layer);
  for (const FileRange& range : layout_.layers[index].ranges) {
    const std::span<const std::byte> bytes = InMapping(range);
    // Norms and biases lie between the matrices and are decoded through the mapping: without this a page of theirs
    // would bring in megabytes of weights that are streamed anyway.
    AdviseRandomAccess(bytes);
    if (!was_here) continue;
    ForgetPages(bytes);
    posix_fadvise(ring_->reader().descriptor(), static_cast<off_t>(range.offset), static_cast<off_t>(range.bytes),
                  POSIX_FADV_DONTNEED);
  }
  presence_[index] = Presence::kAbsent;
  read_error_[index] = absl::OkStatus();
}

void WeightStreamer::Unlock(int64_t layer) {
  const size_t index = static_cast<size_t>(layer);
  if (locked_[index] == 0) return;
  for (const FileRange& range : layout_.layers[index].ranges) UnlockPages(InMapping(range));
  locked_[index] = 0;
}

void WeightStreamer::BringInAwaited() {
  while (true) {
    int64_t layer;
    bool locks;
    {
      MutexLock lock(mutex_);
      while (!stopped_ && (changing_ || awaited_.empty())) lock.Wait(changed_);
      if (stopped_) return;
      layer = awaited_.front();
      awaited_.pop_front();
      locks = streams_ && !lock_warned_;
      bringing_in_ = true;
    }
    uint64_t locked = 0;
    const absl::Status status = BringIn(layer, locks, &locked);
    MutexLock lock(mutex_);
    const size_t index = static_cast<size_t>(layer);
    bringing_in_ = false;
    presence_[index] = Presence::kPresent;
    read_error_[index] = status;
    locked_[index] = locked;
    if (status.ok() && locks && locked == 0) {
      lock_warned_ = true;
      LogInfo("pinned weights are not locked into memory (RLIMIT_MEMLOCK, ulimit -l): the kernel may drop them");
    }
    changed_.notify_all();
  }
}

absl::Status WeightStreamer::BringIn(int64_t layer, bool lock, uint64_t* locked) {
  for (const FileRange& range : layout_.layers[static_cast<size_t>(layer)].ranges) {
    const std::span<const std::byte> bytes = InMapping(range);
    if (const absl::Status status = TouchPages(bytes); !status.ok()) {
      std::error_code error;
      const bool shorter = std::filesystem::file_size(file_->path(), error) < file_->bytes().size() && !error;
      return shorter ? BadFileError(file_->path().string() + ": the file became shorter while it was used")
                     : Annotate(status, file_->path().string());
    }
    if (lock && LockPages(bytes)) *locked += bytes.size();
  }
  return absl::OkStatus();
}

std::span<const std::byte> WeightStreamer::InMapping(const FileRange& range) const {
  const std::span<const std::byte> mapped = file_->bytes();
  return mapped.subspan(range.offset, std::min<uint64_t>(range.bytes, mapped.size() - range.offset));
}

}  // namespace fedglm
