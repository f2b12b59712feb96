#include "base/warm_blocks.h"

#include <sys/mman.h>

#include <atomic>
#include <bit>
#include <cstdint>

namespace fedglm {
namespace {

constexpr size_t kUnit = kSmallestWarmBlock, kUnits = 64, kRegionBytes = kUnit * kUnits;

std::atomic<std::byte*> region = nullptr;
std::atomic<uint64_t> used = 0;  // a bit a unit, those of a block side by side
uint8_t lengths[kUnits];         // of the block that begins there, in units; its owner's

thread_local int scopes = 0;

uint64_t Mask(size_t length) { return (uint64_t{1} << length) - 1; }  // length < kUnits

// The bits at which `length` zeros in a row begin.
uint64_t Gaps(uint64_t bits, size_t length) {
  uint64_t gaps = ~bits;
  for (size_t i = 1; i < length; ++i) gaps &= ~bits >> i;
  return gaps;
}

}  // namespace

bool KeepBlocksWarm() {
  static void* const made =
      mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (made == MAP_FAILED) return false;
  region = static_cast<std::byte*>(made);
  return true;
}

WarmBlockScope::WarmBlockScope() { ++scopes; }
WarmBlockScope::~WarmBlockScope() { --scopes; }

void* TakeWarmBlock(size_t bytes) {
  if (bytes < kSmallestWarmBlock || bytes > kLargestWarmBlock || scopes == 0) return nullptr;
  std::byte* const begin = region.load(std::memory_order_acquire);
  if (begin == nullptr) return nullptr;
  const size_t length = (bytes + kUnit - 1) / kUnit;
  uint64_t before = used.load(std::memory_order_relaxed);
  while (const uint64_t gaps = Gaps(before, length)) {
    const auto at = static_cast<size_t>(std::countr_zero(gaps));
    // Acquire: what its last owner wrote comes before what the next one does.
    if (!used.compare_exchange_weak(before, before | Mask(length) << at, std::memory_order_acquire,
                                    std::memory_order_relaxed)) {
      continue;
    }
    lengths[at] = static_cast<uint8_t>(length);
    return begin + at * kUnit;
  }
  return nullptr;
}

bool GiveWarmBlock(void* block) {
  const std::byte* const begin = region.load(std::memory_order_relaxed);
  const auto offset = reinterpret_cast<uintptr_t>(block) - reinterpret_cast<uintptr_t>(begin);
  if (begin == nullptr || offset >= kRegionBytes) return false;
  const size_t at = offset / kUnit;
  used.fetch_and(~(Mask(lengths[at]) << at), std::memory_order_release);
  return true;
}

}  // namespace fedglm
