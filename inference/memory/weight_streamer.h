// Keeps some of a mapped model's layers in memory and streams the others from the disk ahead of their use, so that a
// token costs only the bytes that are not resident.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/thread_annotations.h"
#include "inference/gguf/gguf_file.h"
#include "inference/memory/file_reader.h"
#include "inference/memory/memory_plan.h"
#include "inference/memory/stream_ring.h"
#include "inference/memory/weight_layout.h"
#include "inference/memory/weight_residency.h"

namespace fedglm {

struct StreamerOptions {
  int64_t ring_slots = kRingSlots;
  std::optional<ReadMethod> method;  // of the streamed layers; without: the first that works
};

struct StreamerStatistics {
  int64_t pinned = 0, streamed = 0;  // layers, the output matrix counted as one
  uint64_t pinned_bytes = 0;
  uint64_t locked_bytes = 0;    // of the pinned ones
  uint64_t streamed_bytes = 0;  // read from the disk since the start
  double wait_seconds = 0;      // that passes have waited for the disk
};

// Pinned layers are the file's own pages in the mapping: no second copy, and shared with every other process that maps
// the file. They are brought in ahead of the first pass and, if others are streamed, locked where the process may do
// so. Streamed layers are read around the page cache into a ring of buffers (StreamRing).
//
// One pass at a time; SetPinned and statistics from any thread.
class WeightStreamer : public WeightResidency {
 public:
  // `layout` of `file`; the first `pinned` of PinningOrder are pinned. Failed or BadFile if layers are to be streamed
  // and the file cannot be read.
  static absl::StatusOr<std::unique_ptr<WeightStreamer>> Make(std::shared_ptr<const GgufFile> file, WeightLayout layout,
                                                              int64_t pinned, const StreamerOptions& options);
  ~WeightStreamer() override;

  // BadFile if the file became shorter, Failed for the disk's errors; the layer is not acquired then.
  absl::StatusOr<ptrdiff_t> Acquire(int64_t layer) override;
  void Release(int64_t layer) override;

  // Pins the first `count` (0 .. layers + 1) of PinningOrder and streams the others. Waits until no layer is being
  // used; the memory of what was unpinned has been given back then. On error (the file cannot be read) nothing changes.
  absl::Status SetPinned(int64_t count);

  StreamerStatistics Statistics() const;

 private:
  // A pinned layer's way into memory.
  enum class Presence { kAbsent, kAwaited, kPresent };

  WeightStreamer(std::shared_ptr<const GgufFile> file, WeightLayout layout, const StreamerOptions& options);
  absl::Status OpenRing() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckSameFile(const FileReader& reader) const;
  void Apply(int64_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unpin(int64_t layer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unlock(int64_t layer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BringInAwaited();  // the thread
  absl::Status BringIn(int64_t layer, bool lock, uint64_t* locked);
  std::span<const std::byte> InMapping(const FileRange& range) const;

  const std::shared_ptr<const GgufFile> file_;
  const WeightLayout layout_;
  const StreamerOptions options_;
  const std::vector<int64_t> order_;

  mutable Mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> pinned_ ABSL_GUARDED_BY(mutex_);
  std::vector<Presence> presence_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint64_t> locked_ ABSL_GUARDED_BY(mutex_);  // bytes, by layer
  std::vector<absl::Status> read_error_ ABSL_GUARDED_BY(mutex_);
  std::deque<int64_t> awaited_ ABSL_GUARDED_BY(mutex_);  // in the order of the pass
  bool bringing_in_ ABSL_GUARDED_BY(mutex_) = false;
  bool lock_warned_ ABSL_GUARDED_BY(mutex_) = false;
  bool streams_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t in_use_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t next_layer_ ABSL_GUARDED_BY(mutex_) = 0;  // after the one acquired last
  bool changing_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<StreamRing> ring_;  // once made, it stays; guarded by its own mutex
  std::thread thread_;
};

}  // namespace fedglm
