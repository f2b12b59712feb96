// The aggregator's durable state: members, tokens, rounds, updates, evaluations, the audit log. Every change that must
// be seen together is one transaction. docs/federation-protocol.md explains the states.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/pem.h"
#include "base/sqlite.h"
#include "base/status.h"

namespace fedglm {

struct TokenRow {
  std::string hash;       // SHA-256 of the secret
  std::string site_name;  // empty: any
  int64_t expires_unix_ms = 0;
  std::string used_by;   // site id; empty: not used
  std::string used_key;  // SHA-256 of the request it was used with
};

struct NodeRow {
  std::string site_id;
  bool revoked = false;
  std::string serial;  // of its certificate
  CertificatePem certificate_pem;
  int64_t last_seen_unix_ms = 0;  // 0: has not asked for work yet
  int64_t training_records = 0;
  int64_t installed_round = -1;
  int64_t bytes_received = 0;
};

// Both are in the store, as these numbers: never renumber.
enum class RoundState : int64_t { kOpen = 0, kDone = 1 };
enum class UpdateState : int64_t { kExpected = 0, kAccepted = 1, kRefused = 2 };

struct RoundRow {
  int64_t round = 0;
  RoundState state = RoundState::kOpen;
  std::string adapter_in, adapter_out;  // artifact digests
  std::string state_in, state_out;      // digests of what the strategy remembers; empty: nothing
  int64_t started_unix_ms = 0, ended_unix_ms = 0, deadline_unix_ms = 0;
  double truncation_error = 0;
};

struct UpdateRow {
  std::string update_id;
  int64_t round = 0;
  std::string site_id;
  UpdateState state = UpdateState::kExpected;
  std::string sha256;
  int64_t bytes = 0;
  int64_t examples = 0;
  double training_loss = 0;
  std::string reason;
};

struct EvaluationRow {
  int64_t round = 0;
  std::string site_id;
  double loss = 0;
  int64_t tokens = 0;
};

struct AuditRow {
  int64_t id = 0, unix_ms = 0;
  std::string actor, action, subject, detail;
};

// Thread-safe.
class Store {
 public:
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::filesystem::path& path);

  // Runs `body` as one transaction.
  absl::Status Transaction(const std::function<absl::Status()>& body) { return database_->Transaction(body); }

  absl::StatusOr<std::string> Setting(const std::string& key);  // empty if not set
  absl::Status SetSetting(const std::string& key, const std::string& value);

  absl::Status AddToken(const TokenRow& token);
  absl::StatusOr<std::optional<TokenRow>> FindToken(const std::string& hash);
  absl::Status MarkTokenUsed(const std::string& hash, const std::string& site_id, const std::string& key);

  absl::Status PutNode(const NodeRow& node);  // inserts or replaces its certificate
  absl::StatusOr<std::optional<NodeRow>> FindNode(const std::string& site_id);
  absl::StatusOr<std::vector<NodeRow>> Nodes();
  absl::Status TouchNode(const std::string& site_id, int64_t now, int64_t training_records, int64_t installed_round);
  absl::Status RevokeNode(const std::string& site_id);  // NotFound if there is none

  // Opens a round and expects an update of every site in the cohort: (update id, site id). Not a transaction of its
  // own.
  absl::Status OpenRound(const RoundRow& round, const std::vector<std::pair<std::string, std::string>>& cohort);
  // An open round begins again: of the cohort, those that are not there, or were refused, are expected. Not a
  // transaction of its own.
  absl::Status BeginAgain(int64_t round, const std::vector<std::pair<std::string, std::string>>& cohort);
  absl::Status SetDeadline(int64_t round, int64_t deadline_unix_ms);
  // Writes what only a closed round has: adapter_out, state_out, truncation_error, ended_unix_ms.
  absl::Status CloseRound(const RoundRow& round);
  absl::StatusOr<std::optional<RoundRow>> LastRound();
  absl::StatusOr<std::vector<RoundRow>> RoundsAfter(int64_t round, int64_t limit);  // in their order, at most `limit`

  absl::StatusOr<std::vector<UpdateRow>> UpdatesOf(int64_t round);  // in the order of their ids
  absl::StatusOr<std::optional<UpdateRow>> FindUpdate(const std::string& update_id);
  // Moves it out of kExpected, adds its bytes to the node's and writes the audit log. Failed if it was decided before.
  absl::Status DecideUpdate(const UpdateRow& update, int64_t now);
  // Refuses what is expected of the site, and what was accepted of it in a round that is open. Not a transaction of its
  // own.
  absl::Status RefuseAllOf(const std::string& site_id, const std::string& reason);
  absl::Status RefuseAllIn(int64_t round, const std::string& reason);  // of all sites; likewise
  // Back to kExpected: its bytes were lost, or it was refused and its round begins again.
  absl::Status ExpectAgain(const std::string& update_id);
  absl::Status SeeNode(const std::string& site_id, int64_t now);  // it was heard of

  // The site's first of the round stays: the one that is there afterwards.
  absl::StatusOr<EvaluationRow> PutEvaluation(const EvaluationRow& evaluation);
  absl::StatusOr<std::vector<EvaluationRow>> EvaluationsOf(int64_t round);

  absl::Status AddAudit(int64_t now, const std::string& actor, const std::string& action, const std::string& subject,
                        const std::string& detail);
  // The oldest `limit` entries after `after_id`, or the newest; in their order.
  absl::StatusOr<std::vector<AuditRow>> Audit(int64_t after_id, int64_t limit, bool newest = false);

 private:
  absl::Status ExpectUpdate(const std::string& update_id, int64_t round, const std::string& site_id);
  explicit Store(std::unique_ptr<Database> database) : database_(std::move(database)) {}
  std::unique_ptr<Database> database_;
};

}  // namespace fedglm
