// How much memory this process holds, how much it could have, and what the kernel is told about a mapping's pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cgroup.h"
#include "base/status.h"

namespace fedglm {

uint64_t CurrentRssBytes(const KernelFolders& folders = {});
uint64_t PeakRssBytes();           // of this process; children are not counted
uint64_t CurrentAnonymousBytes();  // of the RSS, what is no file's page: heap, stacks, buffers

// The memory this process may count on: the cgroup's limit or the machine's memory, whichever is lower.
uint64_t TotalMemoryBytes();
// What of it is free now, page cache counted as free.
uint64_t AvailableMemoryBytes();

// Gives pages of the heap back to the kernel that hold nothing any more; by itself the heap keeps what lies below a
// block that is still used. Takes about a millisecond for a heap of 30 MiB, in which other threads wait for the heap.
// Nothing where the heap is not glibc's.
void ReturnFreedMemory();

// How short memory is, as the kernel counts it.
struct MemorySample {
  uint64_t rss = 0;                                   // of this process
  uint64_t machine_total = 0, machine_available = 0;  // page cache counted as available
  uint64_t group_limit = 0, group_used = 0;           // of the control group with the smallest part left; 0: no limit
  // Percent of the last 10 seconds in which some task waited for memory (PSI "some avg10"); 0 where the kernel lacks
  // it.
  double machine_stall = 0, group_stall = 0;
};
MemorySample ReadMemorySample(const KernelFolders& folders = {});

// Pages of a mapping. Ranges need not begin or end at a page: what acts on more than asked for does so on neighbours
// that share a page, what takes pages away spares them.

// Brings the pages in, and waits; before Linux 5.14 it only asks for them. Failed if the kernel cannot read them.
absl::Status TouchPages(std::span<const std::byte> bytes);
// Keeps the pages in memory. False if the process may not (RLIMIT_MEMLOCK) or memory lacks.
bool LockPages(std::span<const std::byte> bytes);
void UnlockPages(std::span<const std::byte> bytes);
// Takes the pages out of this process; the page cache may keep them.
void ForgetPages(std::span<const std::byte> bytes);
// A touched page brings in no neighbours that were not asked for.
void AdviseRandomAccess(std::span<const std::byte> bytes);
// As it was before AdviseRandomAccess; and what is brought in from now on may come in huge pages where they fit into
// the range: fewer page tables to walk while it is read. Linux has them for files of some file systems (ext4
// since 6.16, XFS since 5.18), if the pages are not in the page cache already.
void AdviseHugePages(std::span<const std::byte> bytes);

}  // namespace fedglm
