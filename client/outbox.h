// The only way out of a site: updates that are ready to leave, on disk until the aggregator has decided on them. What
// is not in the outbox is not sent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fedglm {

// What is said of an update beside its bytes. docs/federation-protocol.md, UploadHeader.
struct OutboxEntry {
  std::string update_id;
  int64_t round = 0;
  std::string base_sha256;
  std::string adapter_sha256;  // of the adapter it was trained from
  std::string mode;
  int64_t examples = 0;  // its weight
  double training_loss = 0;
  std::string sha256;  // of its bytes
  uint64_t bytes = 0;
};

// A folder with UPDATE_ID.update (the bytes) and UPDATE_ID.json (the entry, written last). Not thread-safe.
class Outbox {
 public:
  // Removes what a killed process left half-written.
  static absl::StatusOr<Outbox> Open(const std::filesystem::path& folder);

  // Durable when it returns. `entry`'s sha256 and bytes are filled in from `payload`.
  absl::Status Put(OutboxEntry entry, std::string_view payload);
  absl::StatusOr<std::optional<OutboxEntry>> Find(const std::string& update_id) const;
  // Oldest round first. An entry that is none any more is removed.
  absl::StatusOr<std::vector<OutboxEntry>> Waiting() const;
  absl::StatusOr<std::string> ReadPayload(const OutboxEntry& entry) const;  // an error if it is lost or has changed
  absl::Status Remove(const std::string& update_id);

 private:
  explicit Outbox(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path folder_;
};

}  // namespace fedglm
