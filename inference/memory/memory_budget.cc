#include "inference/memory/memory_budget.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "base/configuration.h"
#include "base/memory.h"

namespace fedglm {

std::string_view MemoryAccountName(MemoryAccount account) {
  switch (account) {
    case MemoryAccount::kPinnedWeights:
      return "pinned weights";
    case MemoryAccount::kStreamedWeights:
      return "streamed weights";
    case MemoryAccount::kKvPages:
      return "KV pages";
    case MemoryAccount::kActivations:
      return "activations";
    case MemoryAccount::kScratch:
      return "scratch";
    case MemoryAccount::kAdapters:
      return "adapters";
  }
  return "";
}

MemoryReservation::MemoryReservation(MemoryReservation&& other) noexcept { *this = std::move(other); }

MemoryReservation& MemoryReservation::operator=(MemoryReservation&& other) noexcept {
  std::swap(budget_, other.budget_);
  std::swap(account_, other.account_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MemoryReservation::~MemoryReservation() {
  if (budget_ != nullptr) budget_->Release(account_, bytes_);
}

absl::Status MemoryReservation::Resize(uint64_t bytes) {
  if (budget_ == nullptr) return FailedError("a memory reservation of no budget");
  if (bytes > bytes_) {
    FEDGLM_RETURN_IF_ERROR(budget_->Take(account_, bytes - bytes_));
  } else {
    budget_->Release(account_, bytes_ - bytes);
  }
  bytes_ = bytes;
  return absl::OkStatus();
}

void MemoryReservation::MoveTo(MemoryReservation& other, uint64_t bytes) {
  budget_->Move(account_, other.account_, bytes);
  bytes_ -= bytes;
  other.bytes_ += bytes;
}

uint64_t DefaultMemoryBudget() {
  // The part that is left covers what no account knows: page tables, sockets, the kernel's own pages for the group.
  const uint64_t group = CgroupMemoryLimit(), total = TotalMemoryBytes();
  const uint64_t share = group != 0 && group <= total ? total / 16 * 15 : total / 4 * 3;
  return std::min(share, AvailableMemoryBytes());
}

MemoryBudget::MemoryBudget(uint64_t total) : total_(total != 0 ? total : DefaultMemoryBudget()) {}

absl::StatusOr<MemoryReservation> MemoryBudget::Reserve(MemoryAccount account, uint64_t bytes) {
  FEDGLM_RETURN_IF_ERROR(Take(account, bytes));
  return MemoryReservation(this, account, bytes);
}

absl::Status MemoryBudget::Take(MemoryAccount account, uint64_t bytes) {
  MutexLock lock(mutex_);
  const uint64_t used = std::accumulate(used_.begin(), used_.end(), uint64_t{0});
  if (bytes > total_ || used > total_ - bytes) {
    return absl::ResourceExhaustedError(std::string(MemoryAccountName(account)) + " want " + FormatByteSize(bytes) +
                                        ", but " + FormatByteSize(used) + " of the memory budget of " +
                                        FormatByteSize(total_) + " are in use");
  }
  used_[static_cast<size_t>(account)] += bytes;
  return absl::OkStatus();
}

void MemoryBudget::Release(MemoryAccount account, uint64_t bytes) {
  MutexLock lock(mutex_);
  used_[static_cast<size_t>(account)] -= bytes;
}

void MemoryBudget::Move(MemoryAccount from, MemoryAccount to, uint64_t bytes) {
  MutexLock lock(mutex_);
  used_[static_cast<size_t>(from)] -= bytes;
  used_[static_cast<size_t>(to)] += bytes;
}

uint64_t MemoryBudget::used() const {
  MutexLock lock(mutex_);
  return std::accumulate(used_.begin(), used_.end(), uint64_t{0});
}

uint64_t MemoryBudget::used(MemoryAccount account) const {
  MutexLock lock(mutex_);
  return used_[static_cast<size_t>(account)];
}

}  // namespace fedglm
