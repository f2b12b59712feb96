#include "aggregator/store/store.h"

#include <utility>

#include "base/file.h"

namespace fedglm {
namespace {

// The schema's first version. Databases from before versions were counted have these tables, too, and version 0.
constexpr char kVersion1[] = R"(
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
  hash TEXT PRIMARY KEY, site_name TEXT NOT NULL, expires_unix_ms INTEGER NOT NULL,
  used_by TEXT NOT NULL DEFAULT '', used_key TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS nodes (
  site_id TEXT PRIMARY KEY, revoked INTEGER NOT NULL DEFAULT 0, serial TEXT NOT NULL, certificate_pem TEXT NOT NULL,
  last_seen_unix_ms INTEGER NOT NULL DEFAULT 0, training_records INTEGER NOT NULL DEFAULT 0,
  installed_round INTEGER NOT NULL DEFAULT -1, bytes_received INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS rounds (
  round INTEGER PRIMARY KEY, done INTEGER NOT NULL DEFAULT 0, adapter_in TEXT NOT NULL,
  adapter_out TEXT NOT NULL DEFAULT '',
  started_unix_ms INTEGER NOT NULL, ended_unix_ms INTEGER NOT NULL DEFAULT 0, deadline_unix_ms INTEGER NOT NULL,
  truncation_error REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS updates (
  update_id TEXT PRIMARY KEY, round INTEGER NOT NULL REFERENCES rounds(round), site_id TEXT NOT NULL,
  state INTEGER NOT NULL DEFAULT 0, sha256 TEXT NOT NULL DEFAULT '', bytes INTEGER NOT NULL DEFAULT 0,
  examples INTEGER NOT NULL DEFAULT 0, training_loss REAL NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
  UNIQUE (round, site_id));
CREATE TABLE IF NOT EXISTS evaluations (
  round INTEGER NOT NULL, site_id TEXT NOT NULL, loss REAL NOT NULL, tokens INTEGER NOT NULL,
  PRIMARY KEY (round, site_id));
CREATE TABLE IF NOT EXISTS audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT, unix_ms INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
  subject TEXT NOT NULL, detail TEXT NOT NULL);
)";

// What a strategy remembers from round to round.
constexpr char kVersion2[] = R"(
ALTER TABLE rounds ADD COLUMN state_in TEXT NOT NULL DEFAULT '';
ALTER TABLE rounds ADD COLUMN state_out TEXT NOT NULL DEFAULT '';
)";

// A certificate that was issued before the present one ends.
constexpr char kVersion3[] = R"(
ALTER TABLE nodes ADD COLUMN next_serial TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN next_certificate_pem TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN next_request_sha256 TEXT NOT NULL DEFAULT '';
)";

// The audit log is a chain. What is in it already is chained by Store::Open, which this setting tells.
constexpr char kVersion4[] = R"(
ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
CREATE TABLE audit_checkpoints (id INTEGER PRIMARY KEY, hash TEXT NOT NULL, signature TEXT NOT NULL);
INSERT INTO settings VALUES ('audit_chain', 'to be made');
)";

// From version i to i + 1: docs/federation-protocol.md has the list. A step that was released is never changed.
constexpr const char* kMigrations[] = {kVersion1, kVersion2, kVersion3, kVersion4};

SqlValue Stored(RoundState state) { return static_cast<int64_t>(state); }
SqlValue Stored(UpdateState state) { return static_cast<int64_t>(state); }

TokenRow ReadToken(const SqlRow& row) { return {row.Text(0), row.Text(1), row.Integer(2), row.Text(3), row.Text(4)}; }

constexpr char kNodeColumns[] =
    "site_id, revoked, serial, certificate_pem, last_seen_unix_ms, training_records, installed_round, bytes_received, "
    "next_serial, next_certificate_pem, next_request_sha256";
NodeRow ReadNode(const SqlRow& row) {
  return {row.Text(0),    row.Integer(1) != 0, row.Text(2), CertificatePem(row.Text(3)), row.Integer(4), row.Integer(5),
          row.Integer(6), row.Integer(7),      row.Text(8), CertificatePem(row.Text(9)), row.Text(10)};
}

void ForgetNext(NodeRow& node) {
  node.next_serial.clear();
  node.next_certificate_pem = CertificatePem();
  node.next_request_sha256.clear();
}

constexpr char kRoundColumns[] =
    "round, done, adapter_in, adapter_out, state_in, state_out, started_unix_ms, ended_unix_ms, deadline_unix_ms, "
    "truncation_error";
RoundRow ReadRound(const SqlRow& row) {
  return {row.Integer(0), static_cast<RoundState>(row.Integer(1)),
          row.Text(2),    row.Text(3),
          row.Text(4),    row.Text(5),
          row.Integer(6), row.Integer(7),
          row.Integer(8), row.Number(9)};
}

constexpr char kUpdateColumns[] = "update_id, round, site_id, state, sha256, bytes, examples, training_loss, reason";
UpdateRow ReadUpdate(const SqlRow& row) {
  return {row.Text(0), row.Integer(1), row.Text(2),    static_cast<UpdateState>(row.Integer(3)),
          row.Text(4), row.Integer(5), row.Integer(6), row.Number(7),
          row.Text(8)};
}

template <typename T>
std::vector<T> ReadAll(const std::vector<SqlRow>& rows, T (*read)(const SqlRow&)) {
  std::vector<T> result;
  for (const SqlRow& row : rows) result.push_back(read(row));
  return result;
}

template <typename T>
std::optional<T> ReadFirst(const std::vector<SqlRow>& rows, T (*read)(const SqlRow&)) {
  return rows.empty() ? std::nullopt : std::optional<T>(read(rows.front()));
}

std::string Select(const char* columns, const std::string& rest) {
  return std::string("SELECT ") + columns + " FROM " + rest;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::filesystem::path& path) {
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Database> database, Database::Open(path));
  FEDGLM_RETURN_IF_ERROR(database->Migrate(kMigrations));
  std::unique_ptr<Store> store(new Store(std::move(database)));
  FEDGLM_RETURN_IF_ERROR(store->ChainOldAudit());
  FEDGLM_RETURN_IF_ERROR(store->Load());
  return store;
}

Store::~Store() { (void)WriteLastSeen(); }

absl::Status Store::Load() {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<SqlRow> nodes, database_->Query(Select(kNodeColumns, "nodes")));
  for (const SqlRow& row : nodes) mirror_.PutNode(ReadNode(row));
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<RoundRow> last, LastRound());
  if (!last) return absl::OkStatus();
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<UpdateRow> updates, ReadUpdates(last->round));
  mirror_.BeginRound(last->round);
  for (const UpdateRow& update : updates) mirror_.PutUpdate(update);
  return absl::OkStatus();
}

absl::Status Store::Transaction(const std::function<absl::Status()>& body) {
  RecursiveMutexLock lock(writing_);
  std::vector<std::function<void(Mirror&)>> pending;
  auto* const outer = std::exchange(pending_, &pending);
  const absl::Status status = database_->Transaction(body);
  pending_ = outer;
  if (!status.ok()) return status;
  if (outer != nullptr) {
    outer->insert(outer->end(), pending.begin(), pending.end());
  } else {
    for (const auto& change : pending) change(mirror_);
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Store::Write(std::string_view sql, const std::vector<SqlValue>& parameters,
                                     std::function<void(Mirror&)> then) {
  RecursiveMutexLock lock(writing_);
  FEDGLM_ASSIGN_OR_RETURN(const int64_t changed, database_->Execute(sql, parameters));
  if (pending_ != nullptr) {
    pending_->push_back(std::move(then));
  } else {
    then(mirror_);
  }
  return changed;
}

absl::StatusOr<std::string> Store::Setting(const std::string& key) {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<SqlRow> rows,
                          database_->Query("SELECT value FROM settings WHERE key = ?", {key}));
  return rows.empty() ? std::string() : rows.front().Text(0);
}

absl::Status Store::SetSetting(const std::string& key, const std::string& value) {
  return database_
      ->Execute("INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                {key, value})
      .status();
}

absl::StatusOr<std::vector<SiteRoundRow>> Store::SiteRoundsAfter(int64_t round, const std::string& site_id,
                                                                 int64_t last_round, int64_t limit) {
  // Both tables give at most `limit` of their own rows: what a page costs does not grow with the federation.
  FEDGLM_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      database_->Query("SELECT k.round, k.site_id, u.examples, u.training_loss, e.tokens, e.loss FROM ("
                       "SELECT * FROM (SELECT round, site_id FROM updates WHERE state = ?1 AND round <= ?4 AND "
                       "(round, site_id) > (?2, ?3) ORDER BY round, site_id LIMIT ?5) UNION "
                       "SELECT * FROM (SELECT round, site_id FROM evaluations WHERE round <= ?4 AND "
                       "(round, site_id) > (?2, ?3) ORDER BY round, site_id LIMIT ?5)) k "
                       "LEFT JOIN updates u ON u.round = k.round AND u.site_id = k.site_id AND u.state = ?1 "
                       "LEFT JOIN evaluations e ON e.round = k.round AND e.site_id = k.site_id "
                       "ORDER BY k.round, k.site_id LIMIT ?5",
                       {Stored(UpdateState::kAccepted), round, site_id, last_round, limit}));
  std::vector<SiteRoundRow> result;
  for (const SqlRow& row : rows) {
    SiteRoundRow site = {row.Integer(0), row.Text(1), row.Integer(2), row.Integer(4)};
    // An accepted update has an example, and an evaluation a token.
    if (site.examples > 0) site.training_loss = row.Number(3);
    if (site.tokens > 0) site.held_out_loss = row.Number(5);
    result.push_back(std::move(site));
  }
  return result;
}

absl::Status Store::AddToken(const TokenRow& token) {
  return database_
      ->Execute("INSERT INTO tokens (hash, site_name, expires_unix_ms) VALUES (?, ?, ?)",
                {token.hash, token.site_name, token.expires_unix_ms})
      .status();
}

absl::StatusOr<std::optional<TokenRow>> Store::FindToken(const std::string& hash) {
  FEDGLM_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      database_->Query("SELECT hash, site_name, expires_unix_ms, used_by, used_key FROM tokens WHERE hash = ?",
                       {hash}));
  return ReadFirst(rows, ReadToken);
}

absl::Status Store::MarkTokenUsed(const std::string& hash, const std::string& site_id, const std::string& key) {
  return database_->Execute("UPDATE tokens SET used_by = ?, used_key = ? WHERE hash = ?", {site_id, key, hash})
      .status();
}

absl::Status Store::PutNode(const NodeRow& node) {
  return Write(
             "INSERT INTO nodes (site_id, serial, certificate_pem) VALUES (?, ?, ?) "
             "ON CONFLICT (site_id) DO UPDATE SET serial = excluded.serial, "
             "certificate_pem = excluded.certificate_pem, revoked = 0, next_serial = '', next_certificate_pem = '', "
             "next_request_sha256 = ''",
             {node.site_id, node.serial, node.certificate_pem.text()},
             [node](Mirror& mirror) {
               NodeRow row = mirror.FindNode(node.site_id).value_or(NodeRow{.site_id = node.site_id});
               row.serial = node.serial;
               row.certificate_pem = node.certificate_pem;
               row.revoked = false;
               ForgetNext(row);
               mirror.PutNode(row);
             })
      .status();
}

absl::Status Store::PutNextCertificate(const NodeRow& node) {
  return Write("UPDATE nodes SET next_serial = ?, next_certificate_pem = ?, next_request_sha256 = ? WHERE site_id = ?",
               {node.next_serial, node.next_certificate_pem.text(), node.next_request_sha256, node.site_id},
               [node](Mirror& mirror) {
                 mirror.ChangeNode(node.site_id, [&](NodeRow& row) {
                   row.next_serial = node.next_serial;
                   row.next_certificate_pem = node.next_certificate_pem;
                   row.next_request_sha256 = node.next_request_sha256;
                 });
               })
      .status();
}

absl::Status Store::AdoptNextCertificate(const std::string& site_id) {
  return Write(
             "UPDATE nodes SET serial = next_serial, certificate_pem = next_certificate_pem, next_serial = '', "
             "next_certificate_pem = '', next_request_sha256 = '' WHERE site_id = ? AND next_serial <> ''",
             {site_id},
             [site_id](Mirror& mirror) {
               mirror.ChangeNode(site_id, [](NodeRow& row) {
                 if (row.next_serial.empty()) return;
                 row.serial = row.next_serial;
                 row.certificate_pem = row.next_certificate_pem;
                 ForgetNext(row);
               });
             })
      .status();
}

absl::Status Store::RevokeNode(const std::string& site_id) {
  FEDGLM_ASSIGN_OR_RETURN(const int64_t changed,
                          Write("UPDATE nodes SET revoked = 1 WHERE site_id = ?", {site_id}, [site_id](Mirror& mirror) {
                            mirror.ChangeNode(site_id, [](NodeRow& node) { node.revoked = true; });
                          }));
  return changed == 1 ? absl::OkStatus() : NotFoundError("no site '" + site_id + "'");
}

std::vector<NodeRow> Store::Nodes() const {
  std::vector<NodeRow> nodes;
  VisitNodes([&](const NodeRow& node) { nodes.push_back(node); });
  return nodes;
}

void Store::SeeNode(const std::string& site_id, int64_t now) {
  mirror_.ChangeNode(site_id, [&](NodeRow& node) { node.last_seen_unix_ms = now; });
  MutexLock lock(seen_mutex_);
  seen_.insert(site_id);
}

void Store::TouchNode(const std::string& site_id, int64_t now, int64_t training_records, int64_t installed_round) {
  mirror_.ChangeNode(site_id, [&](NodeRow& node) {
    node.training_records = training_records;
    node.installed_round = installed_round;
  });
  SeeNode(site_id, now);
}

absl::Status Store::WriteLastSeen() {
  std::set<std::string> seen;
  {
    MutexLock lock(seen_mutex_);
    seen.swap(seen_);
  }
  if (seen.empty()) return absl::OkStatus();
  const absl::Status status = Transaction([&]() -> absl::Status {
    for (const std::string& site_id : seen) {
      const std::optional<NodeRow> node = FindNode(site_id);
      if (!node) continue;
      FEDGLM_RETURN_IF_ERROR(
          database_
              ->Execute(
                  "UPDATE nodes SET last_seen_unix_ms = ?, training_records = ?, installed_round = ? WHERE site_id = ?",
                  {node->last_seen_unix_ms, node->training_records, node->installed_round, site_id})
              .status());
    }
    return absl::OkStatus();
  });
  if (status.ok()) return status;
  MutexLock lock(seen_mutex_);
  seen_.merge(seen);
  return status;
}

absl::Status Store::OpenRound(const RoundRow& round, const std::vector<std::pair<std::string, std::string>>& cohort) {
  FEDGLM_RETURN_IF_ERROR(Write("INSERT INTO rounds (round, done, adapter_in, state_in, started_unix_ms, "
                               "deadline_unix_ms) VALUES (?, ?, ?, ?, ?, ?)",
                               {round.round, Stored(RoundState::kOpen), round.adapter_in, round.state_in,
                                round.started_unix_ms, round.deadline_unix_ms},
                               [number = round.round](Mirror& mirror) { mirror.BeginRound(number); })
                             .status());
  for (const auto& [update_id, site_id] : cohort) {
    FEDGLM_RETURN_IF_ERROR(ExpectUpdate(update_id, round.round, site_id));
  }
  return absl::OkStatus();
}

absl::Status Store::ExpectUpdate(const std::string& update_id, int64_t round, const std::string& site_id) {
  UpdateRow update;
  update.update_id = update_id;
  update.round = round;
  update.site_id = site_id;
  return Write("INSERT INTO updates (update_id, round, site_id, state) VALUES (?, ?, ?, ?)",
               {update_id, round, site_id, Stored(UpdateState::kExpected)},
               [update](Mirror& mirror) { mirror.PutUpdate(update); })
      .status();
}

absl::Status Store::BeginAgain(int64_t round, const std::vector<std::pair<std::string, std::string>>& cohort) {
  for (const auto& [update_id, site_id] : cohort) {
    FEDGLM_ASSIGN_OR_RETURN(const std::optional<UpdateRow> update, FindUpdate(update_id));
    if (!update) FEDGLM_RETURN_IF_ERROR(ExpectUpdate(update_id, round, site_id));
    if (update && update->state == UpdateState::kRefused) FEDGLM_RETURN_IF_ERROR(ExpectAgain(update_id));
  }
  return absl::OkStatus();
}

absl::Status Store::SetDeadline(int64_t round, int64_t deadline_unix_ms) {
  return database_->Execute("UPDATE rounds SET deadline_unix_ms = ? WHERE round = ?", {deadline_unix_ms, round})
      .status();
}

absl::Status Store::CloseRound(const RoundRow& round) {
  return database_
      ->Execute(
          "UPDATE rounds SET done = ?, adapter_out = ?, state_out = ?, truncation_error = ?, ended_unix_ms = ? "
          "WHERE round = ?",
          {Stored(RoundState::kDone), round.adapter_out, round.state_out, round.truncation_error, round.ended_unix_ms,
           round.round})
      .status();
}

absl::StatusOr<std::optional<RoundRow>> Store::LastRound() {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<SqlRow> rows,
                          database_->Query(Select(kRoundColumns, "rounds ORDER BY round DESC LIMIT 1")));
  return ReadFirst(rows, ReadRound);
}

absl::StatusOr<std::vector<RoundRow>> Store::RoundsAfter(int64_t round, int64_t limit) {
  FEDGLM_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      database_->Query(Select(kRoundColumns, "rounds WHERE round > ? ORDER BY round LIMIT ?"), {round, limit}));
  return ReadAll(rows, ReadRound);
}

absl::StatusOr<std::vector<UpdateRow>> Store::ReadUpdates(int64_t round) {
  FEDGLM_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      database_->Query(Select(kUpdateColumns, "updates WHERE round = ? ORDER BY update_id"), {round}));
  return ReadAll(rows, ReadUpdate);
}

absl::StatusOr<std::vector<UpdateRow>> Store::UpdatesOf(int64_t round) {
  if (std::optional<std::vector<UpdateRow>> updates = mirror_.UpdatesOf(round)) return *std::move(updates);
  return ReadUpdates(round);
}

absl::StatusOr<std::optional<UpdateRow>> Store::FindUpdate(const std::string& update_id) {
  if (std::optional<UpdateRow> update = mirror_.FindUpdate(update_id)) return update;
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<SqlRow> rows,
                          database_->Query(Select(kUpdateColumns, "updates WHERE update_id = ?"), {update_id}));
  return ReadFirst(rows, ReadUpdate);
}

absl::Status Store::DecideUpdate(const UpdateRow& update, int64_t now) {
  return Transaction([&]() -> absl::Status {
    FEDGLM_ASSIGN_OR_RETURN(
        const int64_t changed,
        Write("UPDATE updates SET state = ?, sha256 = ?, bytes = ?, examples = ?, training_loss = ?, reason = ? "
              "WHERE update_id = ? AND state = ?",
              {Stored(update.state), update.sha256, update.bytes, update.examples, update.training_loss, update.reason,
               update.update_id, Stored(UpdateState::kExpected)},
              [update](Mirror& mirror) { mirror.PutUpdate(update); }));
    if (changed != 1) return FailedError("update " + update.update_id + " was decided before");
    FEDGLM_RETURN_IF_ERROR(
        Write("UPDATE nodes SET bytes_received = bytes_received + ? WHERE site_id = ?", {update.bytes, update.site_id},
              [update](Mirror& mirror) {
                mirror.ChangeNode(update.site_id, [&](NodeRow& node) { node.bytes_received += update.bytes; });
              })
            .status());
    const bool accepted = update.state == UpdateState::kAccepted;
    return AddAudit(now, update.site_id, accepted ? "update accepted" : "update refused",
                    "round " + std::to_string(update.round), accepted ? update.sha256 : update.reason);
  });
}

absl::Status Store::RefuseUpdates(int64_t round, const std::string& site_id, const std::string& reason) {
  return Write("UPDATE updates SET state = ?, reason = ? WHERE round = ? AND state != ? AND (? = '' OR site_id = ?)",
               {Stored(UpdateState::kRefused), reason, round, Stored(UpdateState::kRefused), site_id, site_id},
               [=](Mirror& mirror) {
                 mirror.ChangeUpdates([&](UpdateRow& update) {
                   if (update.round != round || update.state == UpdateState::kRefused) return;
                   if (!site_id.empty() && update.site_id != site_id) return;
                   update.state = UpdateState::kRefused;
                   update.reason = reason;
                 });
               })
      .status();
}

absl::Status Store::ExpectAgain(const std::string& update_id) {
  return Write(
             "UPDATE updates SET state = ?, sha256 = '', bytes = 0, examples = 0, training_loss = 0, "
             "reason = '' WHERE update_id = ?",
             {Stored(UpdateState::kExpected), update_id},
             [update_id](Mirror& mirror) {
               const std::optional<UpdateRow> before = mirror.FindUpdate(update_id);
               if (!before) return;
               UpdateRow update;
               update.update_id = update_id;
               update.round = before->round;
               update.site_id = before->site_id;
               mirror.PutUpdate(update);
             })
      .status();
}

absl::StatusOr<EvaluationRow> Store::PutEvaluation(const EvaluationRow& e) {
  FEDGLM_RETURN_IF_ERROR(
      database_
          ->Execute("INSERT OR IGNORE INTO evaluations VALUES (?, ?, ?, ?)", {e.round, e.site_id, e.loss, e.tokens})
          .status());
  FEDGLM_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      database_->Query("SELECT loss, tokens FROM evaluations WHERE round = ? AND site_id = ?", {e.round, e.site_id}));
  if (rows.empty()) return FailedError("the evaluation of " + e.site_id + " is not in the store");
  return EvaluationRow{e.round, e.site_id, rows[0].Number(0), rows[0].Integer(1)};
}

absl::StatusOr<std::vector<EvaluationRow>> Store::EvaluationsOf(int64_t round) {
  FEDGLM_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      database_->Query("SELECT round, site_id, loss, tokens FROM evaluations WHERE round = ? ORDER BY site_id",
                       {round}));
  std::vector<EvaluationRow> result;
  for (const SqlRow& row : rows) result.push_back({row.Integer(0), row.Text(1), row.Number(2), row.Integer(3)});
  return result;
}

}  // namespace fedglm
