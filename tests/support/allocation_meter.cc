#include "tests/support/allocation_meter.h"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace fedglm {
namespace {

std::atomic<int64_t> live = 0, highest = 0;

void* Allocate(size_t size, size_t alignment) {
  const size_t rounded = std::max<size_t>(1, (size + alignment - 1) / alignment) * alignment;
  void* const memory =
      alignment <= alignof(std::max_align_t) ? std::malloc(rounded) : std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  const int64_t bytes = static_cast<int64_t>(malloc_usable_size(memory));
  const int64_t now = live.fetch_add(bytes) + bytes;
  int64_t before = highest.load();
  while (before < now && !highest.compare_exchange_weak(before, now)) {
  }
  return memory;
}

void Free(void* memory) {
  if (memory == nullptr) return;
  live -= static_cast<int64_t>(malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

AllocationMeter::AllocationMeter() : before_(live.load()) { highest.store(before_); }
int64_t AllocationMeter::peak() const { return highest.load() - before_; }

}  // namespace fedglm

// The other forms of new and delete call these.
void* operator new(size_t size) { return fedglm::Allocate(size, 1); }
void* operator new(size_t size, std::align_val_t alignment) {
  return fedglm::Allocate(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { fedglm::Free(memory); }
void operator delete(void* memory, size_t) noexcept { fedglm::Free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { fedglm::Free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { fedglm::Free(memory); }
