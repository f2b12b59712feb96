#include "base/heap/heap.h"

#include <malloc.h>

#include <cstdlib>
#include <new>

#include "base/warm_blocks.h"

namespace fedglm {

void KeepHeapCompact() {
#ifdef __GLIBC__
  mallopt(M_ARENA_MAX, 2);
  // To set one of these also ends their growth with what is freed.
  mallopt(M_MMAP_THRESHOLD, kSmallestWarmBlock);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
#endif
}

}  // namespace fedglm

#ifndef FEDGLM_SANITIZED
// The other forms of new and delete call these; those with an alignment are the library's, and know malloc alone.
void* operator new(size_t bytes) {
  if (void* const warm = fedglm::TakeWarmBlock(bytes); warm != nullptr) return warm;
  while (true) {
    if (void* const block = std::malloc(bytes == 0 ? 1 : bytes); block != nullptr) return block;
    const std::new_handler make_room = std::get_new_handler();
    if (make_room == nullptr) throw std::bad_alloc();
    make_room();
  }
}

void operator delete(void* block) noexcept {
  if (!fedglm::GiveWarmBlock(block)) std::free(block);
}

void operator delete(void* block, size_t) noexcept { operator delete(block); }
#endif
