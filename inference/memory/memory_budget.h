// What a process may use of the machine's memory, by named account. A reservation that does not fit is an error that
// the caller can act on (refuse new work, shrink), long before the kernel would act.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "base/thread_annotations.h"

namespace fedglm {

enum class MemoryAccount { kPinnedWeights, kStreamedWeights, kKvPages, kActivations, kScratch, kAdapters };
inline constexpr size_t kMemoryAccounts = 6;
std::string_view MemoryAccountName(MemoryAccount account);

// What a process takes of the machine if nothing is said: fifteen sixteenths of the lowest limit of its control group
// and all above it, or three quarters of a machine without such a limit; and never more than is available now.
uint64_t DefaultMemoryBudget();

class MemoryBudget;

// Gives its bytes back when destroyed. The budget must outlive it.
class MemoryReservation {
 public:
  MemoryReservation() = default;
  MemoryReservation(MemoryReservation&& other) noexcept;
  MemoryReservation& operator=(MemoryReservation&& other) noexcept;
  ~MemoryReservation();
  uint64_t bytes() const { return bytes_; }
  // Shrinking cannot fail; growing can as Reserve does, and then changes nothing. Not of a default-constructed one.
  absl::Status Resize(uint64_t bytes);
  // Hands `bytes` of this one's over to another of the same budget: nobody can take them in between.
  void MoveTo(MemoryReservation& other, uint64_t bytes);

 private:
  friend class MemoryBudget;
  MemoryReservation(MemoryBudget* budget, MemoryAccount account, uint64_t bytes)
      : budget_(budget), account_(account), bytes_(bytes) {}
  MemoryBudget* budget_ = nullptr;
  MemoryAccount account_ = MemoryAccount::kScratch;
  uint64_t bytes_ = 0;
};

// Thread-safe.
class MemoryBudget {
 public:
  // `total` 0: DefaultMemoryBudget().
  explicit MemoryBudget(uint64_t total);

  // ResourceExhausted (exit code 1) naming the account, what it wants and what is left.
  absl::StatusOr<MemoryReservation> Reserve(MemoryAccount account, uint64_t bytes);

  uint64_t total() const { return total_; }
  uint64_t free() const { return total_ - std::min(total_, used()); }
  uint64_t used() const;
  uint64_t used(MemoryAccount account) const;

 private:
  friend class MemoryReservation;
  absl::Status Take(MemoryAccount account, uint64_t bytes);
  void Release(MemoryAccount account, uint64_t bytes);
  void Move(MemoryAccount from, MemoryAccount to, uint64_t bytes);
  const uint64_t total_;
  mutable Mutex mutex_;
  std::array<uint64_t, kMemoryAccounts> used_ ABSL_GUARDED_BY(mutex_) = {};
};

}  // namespace fedglm
