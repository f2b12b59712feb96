#include "base/mapping_guard.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <utility>

#include "base/thread_annotations.h"

namespace fedglm {

// One entry of a list that only grows: a handler may be walking it at any instant, so entries are used again, never
// freed.
struct WatchedMapping {
  std::atomic<uintptr_t> begin = 0;  // 0: free
  std::atomic<uintptr_t> end = 0;
  std::atomic<bool> broken = false;
  WatchedMapping* next = nullptr;
};

namespace {

// A signal belongs to the process: what its handler reads cannot lie anywhere else.
std::atomic<WatchedMapping*> all_mappings = nullptr;
Mutex list_mutex;  // of those who add and remove; the handler takes no lock
struct sigaction previous_action;
uintptr_t page_size = 4096;

// Only what is async-signal-safe: atomics that are lock-free, and one system call by its number, so that no sanitizer's
// interceptor comes between.
bool ReplaceByZeros(uintptr_t address) {
  for (WatchedMapping* mapping = all_mappings.load(); mapping != nullptr; mapping = mapping->next) {
    const uintptr_t begin = mapping->begin.load(), end = mapping->end.load();
    if (begin == 0 || address < begin || address >= end) continue;
    mapping->broken.store(true);
    // To the mapping's end, not this page alone: what lies behind is gone as well, and would cost a signal a page.
    const uintptr_t page = address & ~(page_size - 1);
    const long placed = ::syscall(SYS_mmap, page, end - page, PROT_READ,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    return placed == static_cast<long>(page);
  }
  return false;
}

void HandleBusError(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const bool from_the_kernel = info->si_code > 0;
  const bool replaced = from_the_kernel && ReplaceByZeros(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved_errno;
  if (replaced) return;
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal);
  } else {
    ::signal(signal, SIG_DFL);
    ::raise(signal);  // waits until this handler returns
  }
}

void InstallHandler() {
  page_size = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  struct sigaction action = {};
  action.sa_sigaction = HandleBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &previous_action);
}

// An entry that watches nothing; nullptr: all do.
WatchedMapping* FindFreeEntry() ABSL_EXCLUSIVE_LOCKS_REQUIRED(list_mutex);
WatchedMapping* FindFreeEntry() {
  WatchedMapping* entry = all_mappings.load();
  while (entry != nullptr && entry->begin.load() != 0) entry = entry->next;
  return entry;
}

}  // namespace

MappingGuard MappingGuard::Watch(std::span<const std::byte> mapping) {
  if (mapping.empty()) return MappingGuard();
  static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);
  static std::once_flag installed;
  std::call_once(installed, InstallHandler);

  MutexLock lock(list_mutex);
  WatchedMapping* watched = FindFreeEntry();
  const bool is_new = watched == nullptr;
  if (is_new) {
    watched = new WatchedMapping;
    watched->next = all_mappings.load();
  }
  const uintptr_t begin = reinterpret_cast<uintptr_t>(mapping.data());
  watched->broken.store(false);
  watched->end.store(begin + mapping.size());
  watched->begin.store(begin);  // last: from here on it counts
  if (is_new) all_mappings.store(watched);
  return MappingGuard(watched);
}

MappingGuard::MappingGuard(MappingGuard&& other) noexcept : watched_(std::exchange(other.watched_, nullptr)) {}

MappingGuard& MappingGuard::operator=(MappingGuard&& other) noexcept {
  MappingGuard old(std::exchange(watched_, std::exchange(other.watched_, nullptr)));
  return *this;
}

MappingGuard::~MappingGuard() {
  if (watched_ == nullptr) return;
  MutexLock lock(list_mutex);
  watched_->begin.store(0);
}

bool MappingGuard::broken() const { return watched_ != nullptr && watched_->broken.load(); }

}  // namespace fedglm
