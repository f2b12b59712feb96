#include "inference/memory/reserved_memory.h"

#include <sys/mman.h>

#include <string>
#include <utility>

#include "base/configuration.h"

namespace fedglm {

absl::StatusOr<ReservedMemory> ReservedMemory::Make(MemoryBudget& budget, MemoryAccount account, uint64_t bytes) {
  ReservedMemory memory;
  FEDGLM_ASSIGN_OR_RETURN(memory.reservation_, budget.Reserve(account, bytes));
  if (bytes == 0) return memory;
  void* const data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(std::string(MemoryAccountName(account)) + ": the machine has no " +
                                        FormatByteSize(bytes) + " left");
  }
  memory.data_ = static_cast<std::byte*>(data);
  return memory;
}

ReservedMemory::ReservedMemory(ReservedMemory&& other) noexcept { *this = std::move(other); }

ReservedMemory& ReservedMemory::operator=(ReservedMemory&& other) noexcept {
  std::swap(reservation_, other.reservation_);
  std::swap(data_, other.data_);
  return *this;
}

ReservedMemory::~ReservedMemory() {
  if (data_ != nullptr) munmap(data_, reservation_.bytes());
}

}  // namespace fedglm
