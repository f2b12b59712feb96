// Buffers that streamed layers are read into, one layer each, in the order of the pass and round again, so that the
// disk goes on reading while a layer is computed and from the end of a pass into the next.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/thread_annotations.h"
#include "inference/memory/file_reader.h"
#include "inference/memory/weight_layout.h"

namespace fedglm {

// Address space for a layer's span of the file; a page takes memory once it is written to.
class SlotMemory {
 public:
  static absl::StatusOr<SlotMemory> Map(uint64_t bytes);
  SlotMemory(SlotMemory&& other) noexcept;
  SlotMemory& operator=(SlotMemory&& other) noexcept;
  ~SlotMemory();
  std::byte* data() const { return data_; }
  void Forget();  // gives its pages back; they read as zeros then

 private:
  SlotMemory() = default;
  std::byte* mapping_ = nullptr;
  std::byte* data_ = nullptr;
  size_t mapped_ = 0, bytes_ = 0;
};

// Thread-safe.
class StreamRing {
 public:
  // `layout` must outlive it. Errors of FileReader::Open.
  static absl::StatusOr<std::unique_ptr<StreamRing>> Open(const std::filesystem::path& path, const WeightLayout& layout,
                                                          int64_t slots, std::optional<ReadMethod> method);
  ~StreamRing();

  // Reads `sequence` (ascending layers) round and round from its first layer on that is not below `from`. What was read
  // ahead before is given up. No layer may be taken at that moment.
  void Start(std::vector<int64_t> sequence, int64_t from);
  // Waits for the layer of the sequence. [span of the layer]: its ranges at their distance from the layer's begin. What
  // was read ahead for other layers is given up. An error of the read leaves the layer not taken; the next Take tries
  // again.
  absl::StatusOr<std::byte*> Take(int64_t layer);
  void GiveBack(int64_t layer);

  const FileReader& reader() const { return *reader_; }
  double wait_seconds() const;  // spent in Take, all together

 private:
  struct Slot {
    enum class State { kFree, kReading, kReady, kTaken };
    explicit Slot(SlotMemory m) : memory(std::move(m)) {}
    SlotMemory memory;
    State state = State::kFree;
    int64_t layer = -1;
    bool given_up = false;  // still being read, but nobody waits for it
    absl::Status status;
  };

  StreamRing(const WeightLayout& layout) : layout_(layout) {}
  void OnRead(uint64_t slot, const absl::Status& status);
  void ReadAhead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveUpFront() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AnyGivenUp() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const WeightLayout& layout_;
  mutable Mutex mutex_;
  std::condition_variable changed_;
  std::vector<Slot> slots_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> sequence_ ABSL_GUARDED_BY(mutex_);
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;           // of the sequence: what is read next
  std::deque<size_t> ahead_ ABSL_GUARDED_BY(mutex_);  // slots being read or ready, in the order of the sequence
  double wait_seconds_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<FileReader> reader_;  // last: destroyed first, it writes to the slots
};

}  // namespace fedglm
