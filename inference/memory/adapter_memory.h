// The memory budget's account of adapters: those that are there, and room that is set aside for the ones to come.
#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"
#include "base/thread_annotations.h"
#include "inference/memory/memory_budget.h"

namespace fedglm {

// What is set aside for installed adapters of these sizes: all of them, and the largest once more. An adapter is
// replaced while answers are computed with the old one, so both are there; the room for that must not be looked for at
// that moment.
uint64_t RoomForAdapters(std::span<const uint64_t> adapter_bytes);

// What is set aside is charged to the budget also while no adapter takes it: KV pages, which grow into what is free, do
// not grow into that. Thread-safe.
class AdapterMemory {
 public:
  // `budget` must outlive this.
  explicit AdapterMemory(MemoryBudget& budget);

  // One adapter's part, which goes back when this is destroyed. The AdapterMemory must outlive it.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept;
    Share& operator=(Share&& other) noexcept;
    ~Share();
    uint64_t bytes() const { return bytes_; }

   private:
    friend class AdapterMemory;
    Share(AdapterMemory* memory, uint64_t bytes) : memory_(memory), bytes_(bytes) {}
    AdapterMemory* memory_ = nullptr;
    uint64_t bytes_ = 0;
  };

  // From what is set aside and not taken, and then from what the budget has free. ResourceExhausted if both are too
  // little.
  absl::StatusOr<Share> Take(uint64_t bytes);
  // The account is at least so large from now on. Less cannot fail; more is ResourceExhausted, and then changes
  // nothing, if the budget has no room.
  absl::Status SetAside(uint64_t bytes);

  uint64_t taken() const;    // by shares
  uint64_t charged() const;  // to the budget: what is taken, or what is set aside if that is more

 private:
  void GiveBack(uint64_t bytes);

  mutable Mutex mutex_;
  MemoryReservation account_ ABSL_GUARDED_BY(mutex_);
  uint64_t taken_ ABSL_GUARDED_BY(mutex_) = 0, set_aside_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fedglm
