// The adapters that an engine can compute with: the one that is in force, and those that requests choose by name.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/thread_annotations.h"
#include "inference/model/bound_adapter.h"

namespace fedglm {

// An adapter as it was installed. Installing the same file again is another generation: what was computed with one is
// never taken for the other's.
struct InstalledAdapter {
  uint64_t generation = 0;                      // 0: the base alone
  std::shared_ptr<const BoundAdapter> factors;  // nullptr: the base alone
};

// Thread-safe.
class AdapterTable {
 public:
  // Replaces the adapter of that name; kDefault is the one in force. nullptr: none, or the base alone.
  static constexpr std::string_view kDefault = "";
  void Set(std::string_view name, std::shared_ptr<const BoundAdapter> factors);
  InstalledAdapter Default() const;
  // UsageError if there is none of that name.
  absl::StatusOr<InstalledAdapter> Find(std::string_view name) const;
  std::vector<std::string> Names() const;  // sorted

  // RoomForAdapters of all that are in the table; and as if `name` had one of `bytes`.
  uint64_t Room() const;
  uint64_t RoomWith(std::string_view name, uint64_t bytes) const;

  // The generations that were replaced or removed since the last call.
  std::vector<uint64_t> TakeRetired();

 private:
  std::map<std::string_view, uint64_t> Sizes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  uint64_t last_generation_ ABSL_GUARDED_BY(mutex_) = 0;
  InstalledAdapter default_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, InstalledAdapter, std::less<>> named_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint64_t> retired_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedglm
