// The aggregator's durable state: members, tokens, rounds, updates, evaluations, the audit log. Every change that must
// be seen together is one transaction. docs/federation-protocol.md explains the states.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aggregator/store/audit_chain.h"
#include "aggregator/store/mirror.h"
#include "aggregator/store/rows.h"
#include "base/sqlite.h"
#include "base/status.h"
#include "base/thread_annotations.h"

namespace fedglm {

// Signs a text: base64url Ed25519.
using TextSigner = std::function<absl::StatusOr<std::string>(std::string_view text)>;

// Thread-safe. What is asked for at every call (members, the last round's updates) is answered from memory, which is
// what is in the database; only when and with what a site was last there is written later (WriteLastSeen).
class Store {
 public:
  // Brings an older database to the newest schema; its audit log becomes a chain then, from its first entry on.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::filesystem::path& path);
  ~Store();

  // Who signs checkpoints of the audit log; without it none are made. Before other threads use the store.
  void SignCheckpointsWith(TextSigner sign) { sign_ = std::move(sign); }

  // Runs `body` as one transaction, or as a part of the one that this is called in. Within it members and updates are
  // read as they were before.
  absl::Status Transaction(const std::function<absl::Status()>& body);

  absl::StatusOr<std::string> Setting(const std::string& key);  // empty if not set
  absl::Status SetSetting(const std::string& key, const std::string& value);

  absl::Status AddToken(const TokenRow& token);
  absl::StatusOr<std::optional<TokenRow>> FindToken(const std::string& hash);
  absl::Status MarkTokenUsed(const std::string& hash, const std::string& site_id, const std::string& key);

  absl::Status PutNode(const NodeRow& node);  // inserts, or replaces its certificate; a next one is forgotten
  // Writes next_serial, next_certificate_pem and next_request_sha256.
  absl::Status PutNextCertificate(const NodeRow& node);
  absl::Status AdoptNextCertificate(const std::string& site_id);  // which it has: it becomes the present one
  std::optional<NodeRow> FindNode(const std::string& site_id) const { return mirror_.FindNode(site_id); }
  // In the order of their names; `visit` only looks.
  void VisitNodes(const std::function<void(const NodeRow&)>& visit) const { mirror_.VisitNodes(visit); }
  std::vector<NodeRow> Nodes() const;
  absl::Status RevokeNode(const std::string& site_id);    // NotFound if there is none
  void SeeNode(const std::string& site_id, int64_t now);  // it was heard of
  void TouchNode(const std::string& site_id, int64_t now, int64_t training_records, int64_t installed_round);
  // What these two were told since the last time. Also when the store is closed.
  absl::Status WriteLastSeen();

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
  UpdateCounts CountUpdates() const { return mirror_.Counts(); }    // of the last round
  // Whether `holds` is true of each site whose update is expected in the last round.
  bool AllExpected(const std::function<bool(const std::string& site_id)>& holds) const {
    return mirror_.AllExpected(holds);
  }
  absl::StatusOr<std::optional<UpdateRow>> FindUpdate(const std::string& update_id);
  // Moves it out of kExpected, adds its bytes to the node's and writes the audit log. Failed if it was decided before.
  absl::Status DecideUpdate(const UpdateRow& update, int64_t now);
  // Refuses what is expected, or was accepted, in a round: of this site, or of all if the name is empty.
  absl::Status RefuseUpdates(int64_t round, const std::string& site_id, const std::string& reason);
  // Back to kExpected: its bytes were lost, or it was refused and its round begins again.
  absl::Status ExpectAgain(const std::string& update_id);

  // The site's first of the round stays: the one that is there afterwards.
  absl::StatusOr<EvaluationRow> PutEvaluation(const EvaluationRow& evaluation);
  absl::StatusOr<std::vector<EvaluationRow>> EvaluationsOf(int64_t round);
  // Of rounds up to `last_round`, what comes after this site in this round, by round and site; at most `limit`.
  absl::StatusOr<std::vector<SiteRoundRow>> SiteRoundsAfter(int64_t round, const std::string& site_id,
                                                            int64_t last_round, int64_t limit);

  // The next entry of the chain. A transaction, or part of one.
  absl::Status AddAudit(int64_t now, const std::string& actor, const std::string& action, const std::string& subject,
                        const std::string& detail);
  // The oldest `limit` entries after `after_id`, or the newest; in their order.
  absl::StatusOr<std::vector<AuditRow>> Audit(int64_t after_id, int64_t limit, bool newest = false);
  absl::StatusOr<std::vector<AuditCheckpoint>> AuditCheckpoints(int64_t first_id, int64_t last_id);  // both included
  absl::StatusOr<std::optional<AuditCheckpoint>> NewestAuditCheckpoint();

 private:
  absl::Status ChainOldAudit();
  absl::Status AddCheckpoint(const AuditRow& entry);
  explicit Store(std::unique_ptr<Database> database) : database_(std::move(database)) {}
  absl::Status Load();
  absl::StatusOr<std::vector<UpdateRow>> ReadUpdates(int64_t round);
  // A statement, and what it changes in memory when it is committed. The number of rows changed.
  absl::StatusOr<int64_t> Write(std::string_view sql, const std::vector<SqlValue>& parameters,
                                std::function<void(Mirror&)> then);
  absl::Status ExpectUpdate(const std::string& update_id, int64_t round, const std::string& site_id);

  std::unique_ptr<Database> database_;
  Mirror mirror_;
  RecursiveMutex writing_;  // the database and the mirror change in the same order
  // Of the transaction that runs.
  std::vector<std::function<void(Mirror&)>>* pending_ ABSL_GUARDED_BY(writing_) = nullptr;
  Mutex seen_mutex_;
  std::set<std::string> seen_ ABSL_GUARDED_BY(seen_mutex_);  // of these WriteLastSeen has to write
  TextSigner sign_;
};

}  // namespace fedglm
