// Outlives a mapped file that shrinks. Touching a page beyond the file's new end raises SIGBUS, which would end the
// process and with it every other request; in a watched mapping the pages that are gone read as zeros instead, and its
// guard says so.
#pragma once

#include <cstddef>
#include <span>

namespace fedglm {

struct WatchedMapping;

// Moved, not copied; watches until destroyed, which must come before the mapping's end. Thread-safe.
class MappingGuard {
 public:
  MappingGuard() = default;  // watches nothing
  // `mapping` begins at a page's begin, as mmap returns it. The first call installs the process's handler for SIGBUS;
  // what is not of a watched mapping goes on to the handler that was there before.
  static MappingGuard Watch(std::span<const std::byte> mapping);
  MappingGuard(MappingGuard&& other) noexcept;
  MappingGuard& operator=(MappingGuard&& other) noexcept;
  ~MappingGuard();

  // A page could not be read since Watch(). To be asked after a computation over the mapping, before its result is
  // used.
  bool broken() const;

 private:
  explicit MappingGuard(WatchedMapping* watched) : watched_(watched) {}
  WatchedMapping* watched_ = nullptr;
};

}  // namespace fedglm
