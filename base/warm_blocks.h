// Large blocks of memory that stay with the process. glibc gives a freed block of some size back to the kernel, and the
// next one is made of fresh pages. While other programs take the memory, the kernel lets who needs a fresh page wait;
// what must be done at once even then takes its blocks from here.
#pragma once

#include <cstddef>

namespace fedglm {

// Smaller ones glibc keeps by itself; a larger one would leave no room for others.
constexpr size_t kSmallestWarmBlock = 256 << 10, kLargestWarmBlock = 4 << 20;

// Takes 16 MiB from the kernel, for good. False if there are none: then blocks are made of fresh pages, as without a
// call.
bool KeepBlocksWarm();

// While one is there, this thread's operator new takes its large blocks from them (programs with base/heap alone). Any
// thread may free them.
class WarmBlockScope {
 public:
  WarmBlockScope();
  ~WarmBlockScope();
  WarmBlockScope(const WarmBlockScope&) = delete;
  WarmBlockScope& operator=(const WarmBlockScope&) = delete;
};

// For operators new and delete; both lock-free. nullptr: outside a scope, of another size, or all are in use.
void* TakeWarmBlock(size_t bytes);
// False: it is none.
bool GiveWarmBlock(void* block);

}  // namespace fedglm
