#include "inference/memory/stream_ring.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/clock.h"

namespace fedglm {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

absl::StatusOr<SlotMemory> SlotMemory::Map(uint64_t bytes) {
  SlotMemory memory;
  memory.bytes_ = static_cast<size_t>(bytes);
  memory.mapped_ = memory.bytes_ + kHugePage;
  void* const mapping =
      mmap(nullptr, memory.mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    memory.mapped_ = 0;
    return ErrnoError("address space for streamed weights", errno);
  }
  memory.mapping_ = static_cast<std::byte*>(mapping);
  const uintptr_t address = reinterpret_cast<uintptr_t>(mapping);
  memory.data_ = memory.mapping_ + ((address + kHugePage - 1) / kHugePage * kHugePage - address);
  // Fewer entries in the page table to walk, for the kernels that multiply and for the disk that writes.
  madvise(memory.data_, memory.bytes_, MADV_HUGEPAGE);
  return memory;
}

SlotMemory::SlotMemory(SlotMemory&& other) noexcept { *this = std::move(other); }

SlotMemory& SlotMemory::operator=(SlotMemory&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(data_, other.data_);
  std::swap(mapped_, other.mapped_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

SlotMemory::~SlotMemory() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_);
}

void SlotMemory::Forget() { madvise(data_, bytes_, MADV_DONTNEED); }

absl::StatusOr<std::unique_ptr<StreamRing>> StreamRing::Open(const std::filesystem::path& path,
                                                             const WeightLayout& layout, int64_t slots,
                                                             std::optional<ReadMethod> method) {
  std::unique_ptr<StreamRing> ring(new StreamRing(layout));
  uint64_t span = 0;
  for (const LayerWeights& layer : layout.layers) span = std::max(span, layer.span());
  {
    MutexLock lock(ring->mutex_);
    for (int64_t i = 0; i < slots; ++i) {
      FEDGLM_ASSIGN_OR_RETURN(SlotMemory memory, SlotMemory::Map(span));
      ring->slots_.emplace_back(std::move(memory));
    }
  }
  StreamRing* const self = ring.get();
  FEDGLM_ASSIGN_OR_RETURN(ring->reader_,
                          FileReader::Open(path, method, [self](uint64_t slot, const absl::Status& status) {
                            self->OnRead(slot, status);
                          }));
  return ring;
}

StreamRing::~StreamRing() { reader_.reset(); }

void StreamRing::Start(std::vector<int64_t> sequence, int64_t from) {
  MutexLock lock(mutex_);
  while (!ahead_.empty()) GiveUpFront();
  while (AnyGivenUp()) lock.Wait(changed_);
  for (Slot& slot : slots_) slot.memory.Forget();  // what larger layers left there
  sequence_ = std::move(sequence);
  const auto first = std::lower_bound(sequence_.begin(), sequence_.end(), from);
  next_ = first == sequence_.end() ? 0 : static_cast<size_t>(first - sequence_.begin());
  ReadAhead();
}

absl::StatusOr<std::byte*> StreamRing::Take(int64_t layer) {
  const Stopwatch stopwatch;
  MutexLock lock(mutex_);
  const auto place = std::lower_bound(sequence_.begin(), sequence_.end(), layer);
  if (place == sequence_.end() || *place != layer) return FailedError("a layer that is not streamed");
  // A pass that was broken off, or left a layer out, goes on elsewhere than where was read ahead.
  while (!ahead_.empty() && slots_[ahead_.front()].layer != layer) GiveUpFront();
  if (ahead_.empty()) next_ = static_cast<size_t>(place - sequence_.begin());
  ReadAhead();
  while (ahead_.empty() && AnyGivenUp()) {
    lock.Wait(changed_);
    ReadAhead();
  }
  if (ahead_.empty()) return FailedError("more layers are taken at once than the ring has slots");

  Slot& slot = slots_[ahead_.front()];
  while (slot.state == Slot::State::kReading) lock.Wait(changed_);
  wait_seconds_ += stopwatch.Seconds();
  if (!slot.status.ok()) {
    absl::Status status = slot.status;
    GiveUpFront();
    return status;
  }
  slot.state = Slot::State::kTaken;
  ahead_.pop_front();
  return slot.memory.data();
}

void StreamRing::GiveBack(int64_t layer) {
  MutexLock lock(mutex_);
  for (Slot& slot : slots_) {
    if (slot.state == Slot::State::kTaken && slot.layer == layer) slot.state = Slot::State::kFree;
  }
  ReadAhead();
}

double StreamRing::wait_seconds() const {
  MutexLock lock(mutex_);
  return wait_seconds_;
}

void StreamRing::OnRead(uint64_t index, const absl::Status& status) {
  MutexLock lock(mutex_);
  Slot& slot = slots_[index];
  slot.status = status;
  slot.state = slot.given_up ? Slot::State::kFree : Slot::State::kReady;
  slot.given_up = false;
  changed_.notify_all();
}

void StreamRing::ReadAhead() {
  for (size_t i = 0; i < slots_.size() && !sequence_.empty(); ++i) {
    Slot& slot = slots_[i];
    if (slot.state != Slot::State::kFree) continue;
    slot.state = Slot::State::kReading;
    slot.layer = sequence_[next_];
    next_ = (next_ + 1) % sequence_.size();
    const LayerWeights& weights = layout_.layers[static_cast<size_t>(slot.layer)];
    // With gaps between its ranges a layer uses other pages of the slot than the one before.
    if (weights.ranges.size() > 1) slot.memory.Forget();
    std::vector<ReadSegment> segments;
    for (const FileRange& range : weights.ranges) {
      segments.push_back({range.offset, range.bytes, slot.memory.data() + (range.offset - weights.begin())});
    }
    ahead_.push_back(i);
    slot.status = absl::OkStatus();
    if (segments.empty()) {
      slot.state = Slot::State::kReady;
    } else {
      reader_->Read(i, segments);
    }
  }
}

void StreamRing::GiveUpFront() {
  Slot& slot = slots_[ahead_.front()];
  ahead_.pop_front();
  if (slot.state == Slot::State::kReading) {
    slot.given_up = true;
  } else {
    slot.state = Slot::State::kFree;
  }
}

bool StreamRing::AnyGivenUp() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.given_up; });
}

}  // namespace fedglm
