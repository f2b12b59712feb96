// Updates as they arrive, on disk: a broken transfer goes on where it stopped, also after a restart.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"
#include "base/thread_annotations.h"

namespace fedglm {

class Spool;

// One transfer into one update's file, and the only one while it lives. The file is not touched before the first
// Append, which cuts off what lies beyond the offset. Synced when destroyed, so that what QueryUpload promises is on
// disk.
class SpoolWriter {
 public:
  ~SpoolWriter();
  SpoolWriter(const SpoolWriter&) = delete;
  SpoolWriter& operator=(const SpoolWriter&) = delete;
  absl::Status Append(std::string_view bytes);  // Failed with the reason (a full disk, say)
  absl::Status Sync();
  uint64_t bytes() const { return bytes_; }

 private:
  friend class Spool;
  SpoolWriter(Spool& spool, std::string update_id, uint64_t bytes)
      : spool_(spool), update_id_(std::move(update_id)), bytes_(bytes) {}
  absl::Status Open();
  Spool& spool_;
  const std::string update_id_;
  int file_ = -1;
  uint64_t bytes_;
};

// Thread-safe.
class Spool {
 public:
  static absl::StatusOr<std::unique_ptr<Spool>> Open(const std::filesystem::path& folder);

  uint64_t Received(const std::string& update_id) const;  // bytes on disk
  // To go on from `offset`, at most Received(). Aborted if another transfer of the update is going on.
  absl::StatusOr<std::unique_ptr<SpoolWriter>> Begin(const std::string& update_id, uint64_t offset);
  std::filesystem::path Path(const std::string& update_id) const;
  void Remove(const std::string& update_id) const;
  // What a killed process left of rounds that are closed.
  void RemoveAllBut(const std::set<std::string>& update_ids) const;

 private:
  friend class SpoolWriter;
  explicit Spool(std::filesystem::path folder) : folder_(std::move(folder)) {}
  void End(const std::string& update_id);
  const std::filesystem::path folder_;
  Mutex mutex_;
  std::set<std::string> active_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedglm
