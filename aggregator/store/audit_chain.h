// The audit log as a chain: each entry's hash covers the entry and the hash before it, and the aggregator signs every
// hundredth. Whoever changes, inserts or removes an entry afterwards must make all later hashes anew, and cannot sign
// them without the aggregator's key. docs/federation-protocol.md has the bytes. Pure: no database, no network.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/pem.h"
#include "base/status.h"

namespace fedglm {

struct AuditRow {
  int64_t id = 0, unix_ms = 0;
  std::string actor, action, subject, detail;
  std::string hash;  // AuditHash of this entry
};

struct AuditCheckpoint {
  int64_t id = 0;         // of the entry
  std::string hash;       // the entry's
  std::string signature;  // base64url Ed25519 over CheckpointText
};

// What entry 1 has for the hash before it.
inline constexpr char kFirstAuditHash[] = "0000000000000000000000000000000000000000000000000000000000000000";
inline constexpr int64_t kEntriesPerCheckpoint = 100;

// SHA-256 (hexadecimal) over the previous hash and all of the entry but its hash. Every text has its length before it,
// so that no two entries have the same bytes.
std::string AuditHash(const std::string& previous_hash, const AuditRow& entry);

// What is signed: of another form than what an adapter's signature is over.
std::string CheckpointText(int64_t id, const std::string& hash);

// Walks the log from entry 1. Not thread-safe.
class AuditChain {
 public:
  // The next entry. Refused, naming the entry, if one is missing before it or its hash does not fit.
  absl::Status Add(const AuditRow& entry);
  // A checkpoint of the entry that was added last. Refused, naming the entry, if it is of another one, if its hash is
  // another one, or if its signature is not that key's.
  absl::Status Check(const AuditCheckpoint& checkpoint, const PublicKeyPem& key);
  // When all entries were added: Refused if `newest`, the aggregator's newest checkpoint, is none of those that were
  // checked, since the log was cut off before it then.
  absl::Status Finish(const std::optional<AuditCheckpoint>& newest) const;

  int64_t entries() const { return last_.id; }
  const AuditRow& last() const { return last_; }                                       // id 0: none yet
  const std::optional<AuditRow>& last_checkpoint() const { return last_checkpoint_; }  // the entry that it is of

 private:
  AuditRow last_ = {.hash = kFirstAuditHash};
  std::optional<AuditRow> last_checkpoint_;
};

}  // namespace fedglm
