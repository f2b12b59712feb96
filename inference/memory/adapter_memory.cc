#include "inference/memory/adapter_memory.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace fedglm {

uint64_t RoomForAdapters(std::span<const uint64_t> adapter_bytes) {
  if (adapter_bytes.empty()) return 0;
  return std::accumulate(adapter_bytes.begin(), adapter_bytes.end(), *std::ranges::max_element(adapter_bytes));
}

AdapterMemory::Share::Share(Share&& other) noexcept { *this = std::move(other); }

AdapterMemory::Share& AdapterMemory::Share::operator=(Share&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

AdapterMemory::Share::~Share() {
  if (memory_ != nullptr) memory_->GiveBack(bytes_);
}

AdapterMemory::AdapterMemory(MemoryBudget& budget)
    : account_(*budget.Reserve(MemoryAccount::kAdapters, 0)) {}  // nothing always fits

absl::StatusOr<AdapterMemory::Share> AdapterMemory::Take(uint64_t bytes) {
  MutexLock lock(mutex_);
  FEDGLM_RETURN_IF_ERROR(account_.Resize(std::max(set_aside_, taken_ + bytes)));
  taken_ += bytes;
  return Share(this, bytes);
}

absl::Status AdapterMemory::SetAside(uint64_t bytes) {
  MutexLock lock(mutex_);
  FEDGLM_RETURN_IF_ERROR(account_.Resize(std::max(bytes, taken_)));
  set_aside_ = bytes;
  return absl::OkStatus();
}

uint64_t AdapterMemory::taken() const {
  MutexLock lock(mutex_);
  return taken_;
}

uint64_t AdapterMemory::charged() const {
  MutexLock lock(mutex_);
  return account_.bytes();
}

void AdapterMemory::GiveBack(uint64_t bytes) {
  MutexLock lock(mutex_);
  taken_ -= bytes;
  (void)account_.Resize(std::max(set_aside_, taken_));  // shrinks
}

}  // namespace fedglm
