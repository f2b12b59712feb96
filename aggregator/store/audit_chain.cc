#include "aggregator/store/audit_chain.h"

#include "base/digest.h"
#include "base/tls.h"

namespace fedglm {
namespace {

// Eight bytes, the highest first.
std::string Bytes(uint64_t number) {
  std::string bytes(8, '\0');
  for (size_t i = bytes.size(); i-- > 0; number >>= 8) bytes[i] = static_cast<char>(number & 0xff);
  return bytes;
}

std::string Bytes(const std::string& text) { return Bytes(uint64_t{text.size()}) + text; }

absl::Status NotWhole(const AuditRow& entry, const std::string& why) {
  return RefusedError("audit log: entry " + std::to_string(entry.id) + " " + why);
}

}  // namespace

std::string AuditHash(const std::string& previous_hash, const AuditRow& entry) {
  std::string text = "fedglm audit entry 1\n" + Bytes(previous_hash);
  text += Bytes(static_cast<uint64_t>(entry.id)) + Bytes(static_cast<uint64_t>(entry.unix_ms));
  for (const std::string* field : {&entry.actor, &entry.action, &entry.subject, &entry.detail}) text += Bytes(*field);
  return Sha256Hex(text);
}

std::string CheckpointText(int64_t id, const std::string& hash) {
  return "fedglm audit checkpoint 1\n" + std::to_string(id) + "\n" + hash + "\n";
}

absl::Status AuditChain::Add(const AuditRow& entry) {
  if (entry.id != last_.id + 1) {
    return RefusedError("audit log: entry " + std::to_string(last_.id + 1) + " is missing: the next one is " +
                        std::to_string(entry.id));
  }
  if (entry.hash != AuditHash(last_.hash, entry)) {
    return NotWhole(entry, "does not fit: its hash is not that of its content and of the entries before it");
  }
  last_ = entry;
  return absl::OkStatus();
}

absl::Status AuditChain::Check(const AuditCheckpoint& checkpoint, const PublicKeyPem& key) {
  if (checkpoint.id != last_.id || last_.id == 0) {
    return RefusedError("audit log: a checkpoint of entry " + std::to_string(checkpoint.id) + " stands at entry " +
                        std::to_string(last_.id));
  }
  if (checkpoint.hash != last_.hash) return NotWhole(last_, "is another one than the checkpoint was made of");
  const absl::StatusOr<std::string> signature = Base64UrlDecode(checkpoint.signature);
  if (!signature.ok() || !VerifySignature(key, CheckpointText(checkpoint.id, checkpoint.hash), *signature).ok()) {
    return NotWhole(last_, "has a checkpoint that this key did not sign");
  }
  last_checkpoint_ = last_;
  return absl::OkStatus();
}

absl::Status AuditChain::Finish(const std::optional<AuditCheckpoint>& newest) const {
  if (!newest || (last_checkpoint_ && last_checkpoint_->id >= newest->id)) return absl::OkStatus();
  return RefusedError("audit log: it ends at entry " + std::to_string(last_.id) +
                      ", and there is a checkpoint of entry " + std::to_string(newest->id));
}

}  // namespace fedglm
