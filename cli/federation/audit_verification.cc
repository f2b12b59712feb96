#include "cli/federation/audit_verification.h"

#include <charconv>
#include <optional>
#include <vector>

#include "aggregator/store/audit_chain.h"
#include "base/digest.h"
#include "cli/federation/output.h"

namespace fedglm::cli {
namespace {

constexpr int64_t kPage = 1000;

AuditRow RowOf(const v1::AuditEntry& entry) {
  return {entry.id(), entry.unix_ms(), entry.actor(), entry.action(), entry.subject(), entry.detail(), entry.hash()};
}

AuditCheckpoint CheckpointOf(const v1::AuditCheckpoint& checkpoint) {
  return {checkpoint.id(), checkpoint.hash(), checkpoint.signature()};
}

// An entry whose hash somebody wrote down.
struct Expected {
  int64_t id = 0;
  std::string hash;
};

absl::StatusOr<std::optional<Expected>> ParseExpected(const std::string& text) {
  if (text.empty()) return std::optional<Expected>();
  const size_t colon = text.find(':');
  Expected expected;
  if (colon != std::string::npos) {
    expected.hash = text.substr(colon + 1);
    const auto [parsed, error] = std::from_chars(text.data(), text.data() + colon, expected.id);
    if (error == std::errc() && parsed == text.data() + colon && expected.id > 0 && IsSha256Hex(expected.hash)) {
      return std::optional<Expected>(expected);
    }
  }
  return UsageError("--expect is ID:HASH, as an earlier --verify printed it, not '" + text + "'");
}

absl::Status CheckExpected(const AuditRow& entry, const std::optional<Expected>& expected) {
  if (!expected || expected->id != entry.id || expected->hash == entry.hash) return absl::OkStatus();
  return RefusedError("audit log: entry " + std::to_string(entry.id) + " is another one than was expected");
}

// One page: its entries, and each checkpoint at its entry.
absl::Status AddPage(const v1::ListAuditResponse& page, const PublicKeyPem& key,
                     const std::optional<Expected>& expected, AuditChain& chain) {
  auto checkpoint = page.checkpoints().begin();
  for (const v1::AuditEntry& entry : page.entries()) {
    FEDGLM_RETURN_IF_ERROR(chain.Add(RowOf(entry)));
    FEDGLM_RETURN_IF_ERROR(CheckExpected(chain.last(), expected));
    if (checkpoint == page.checkpoints().end() || checkpoint->id() != entry.id()) continue;
    FEDGLM_RETURN_IF_ERROR(chain.Check(CheckpointOf(*checkpoint), key));
    ++checkpoint;
  }
  if (checkpoint == page.checkpoints().end()) return absl::OkStatus();
  return RefusedError("audit log: there is a checkpoint of entry " + std::to_string(checkpoint->id()) +
                      ", which is not there");
}

absl::StatusOr<AuditChain> Walk(AdministrationClient& client, const PublicKeyPem& key,
                                const std::optional<Expected>& expected) {
  AuditChain chain;
  while (true) {
    FEDGLM_ASSIGN_OR_RETURN(const v1::ListAuditResponse page, client.Audit(chain.entries(), kPage, /*newest=*/false));
    if (!page.entries().empty()) {
      FEDGLM_RETURN_IF_ERROR(AddPage(page, key, expected, chain));
      continue;
    }
    std::optional<AuditCheckpoint> newest;
    if (page.has_newest_checkpoint()) newest = CheckpointOf(page.newest_checkpoint());
    FEDGLM_RETURN_IF_ERROR(chain.Finish(newest));
    if (!expected || expected->id <= chain.entries()) return chain;
    return RefusedError("audit log: it ends at entry " + std::to_string(chain.entries()) + ", before entry " +
                        std::to_string(expected->id) + ", which was expected");
  }
}

Json Describe(const AuditRow& entry) { return {{"id", entry.id}, {"unix_ms", entry.unix_ms}, {"hash", entry.hash}}; }

}  // namespace

void AddAuditVerification(Command& audit, AuditVerification& verification) {
  CommandOption verify =
      audit.AddFlag("--verify", verification.asked, "check the whole log: its chain, and the signed checkpoints");
  audit
      .Add("--signing-key", verification.signing_key,
           "the federation's public signing key; default: signing-public.pem beside --admin")
      .Needs(verify);
  audit.Add("--expect", verification.expected, "ID:HASH of an earlier --verify, which the log must go through")
      .Needs(verify);
}

absl::Status VerifyAudit(const AuditVerification& verification, const std::filesystem::path& signing_key,
                         AdministrationClient& client, bool json) {
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<Expected> expected, ParseExpected(verification.expected));
  absl::StatusOr<PublicKeyPem> key = ReadPem<PublicKeyPem>(signing_key);
  if (!key.ok()) return UsageError("give --signing-key: " + Message(key.status()));
  FEDGLM_ASSIGN_OR_RETURN(const AuditChain chain, Walk(client, *key, expected));
  const std::optional<AuditRow>& checkpoint = chain.last_checkpoint();
  if (json) {
    Print({{"version", 1},
           {"entries", chain.entries()},
           {"last", chain.entries() == 0 ? Json(nullptr) : Describe(chain.last())},
           {"last_checkpoint", checkpoint ? Describe(*checkpoint) : Json(nullptr)}});
    return absl::OkStatus();
  }
  std::printf("%lld entries, chain whole, ", static_cast<long long>(chain.entries()));
  if (checkpoint) {
    std::printf("last checkpoint at entry %lld of %s\n", static_cast<long long>(checkpoint->id),
                Time(checkpoint->unix_ms).c_str());
  } else {
    std::printf("no checkpoint yet (one follows every %lld entries)\n", static_cast<long long>(kEntriesPerCheckpoint));
  }
  if (chain.entries() > 0) {
    std::printf("keep elsewhere, for --expect: %lld:%s\n", static_cast<long long>(chain.last().id),
                chain.last().hash.c_str());
  }
  return absl::OkStatus();
}

}  // namespace fedglm::cli
