// Memory that is charged to the budget for as long as it is there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"
#include "inference/memory/memory_budget.h"

namespace fedglm {

// Zeroed pages of the kernel's: what is not touched takes none of the machine's memory, and all of it goes back at once
// when this is destroyed. Aligned to a page.
class ReservedMemory {
 public:
  // ResourceExhausted if the budget or the machine has no room.
  static absl::StatusOr<ReservedMemory> Make(MemoryBudget& budget, MemoryAccount account, uint64_t bytes);
  ReservedMemory() = default;
  ReservedMemory(ReservedMemory&& other) noexcept;
  ReservedMemory& operator=(ReservedMemory&& other) noexcept;
  ~ReservedMemory();

  std::byte* data() const { return data_; }
  uint64_t bytes() const { return reservation_.bytes(); }

 private:
  MemoryReservation reservation_;
  std::byte* data_ = nullptr;
};

}  // namespace fedglm
