// The store's audit log: a chain that grows by one entry at a time, whoever writes to the database.
#include <algorithm>

#include "aggregator/store/store.h"

namespace fedglm {
namespace {

constexpr int64_t kPage = 1000;
constexpr char kChainSetting[] = "audit_chain";
constexpr char kColumns[] = "id, unix_ms, actor, action, subject, detail, hash";

AuditRow ReadEntry(const SqlRow& row) {
  return {row.Integer(0), row.Integer(1), row.Text(2), row.Text(3), row.Text(4), row.Text(5), row.Text(6)};
}

AuditCheckpoint ReadCheckpoint(const SqlRow& row) { return {row.Integer(0), row.Text(1), row.Text(2)}; }

}  // namespace

// Once: what the schema's step to the chain asks for. An entry without a hash that is found later was put there by
// somebody else, and stays as it is.
absl::Status Store::ChainOldAudit() {
  return Transaction([&]() -> absl::Status {
    FEDGLM_ASSIGN_OR_RETURN(const std::string setting, Setting(kChainSetting));
    if (setting.empty()) return absl::OkStatus();
    std::string hash = kFirstAuditHash;
    for (int64_t after = 0;;) {
      FEDGLM_ASSIGN_OR_RETURN(const std::vector<AuditRow> page, Audit(after, kPage));
      if (page.empty()) break;
      for (const AuditRow& entry : page) {
        hash = AuditHash(hash, entry);
        FEDGLM_RETURN_IF_ERROR(database_->Execute("UPDATE audit SET hash = ? WHERE id = ?", {hash, entry.id}).status());
      }
      after = page.back().id;
    }
    return database_->Execute("DELETE FROM settings WHERE key = ?", {std::string(kChainSetting)}).status();
  });
}

absl::Status Store::AddAudit(int64_t now, const std::string& actor, const std::string& action,
                             const std::string& subject, const std::string& detail) {
  // The last hash is read and the entry written in one transaction: another program may write a token's entry.
  return Transaction([&]() -> absl::Status {
    // The number that AUTOINCREMENT would give. It counts on where the last entries were removed, which leaves a gap.
    FEDGLM_ASSIGN_OR_RETURN(const std::vector<SqlRow> last,
                            database_->Query("SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'audit'), "
                                             "(SELECT hash FROM audit ORDER BY id DESC LIMIT 1)"));
    const std::string before = last.at(0).Text(1);
    AuditRow entry = {last.at(0).Integer(0) + 1, now, actor, action, subject, detail};
    entry.hash = AuditHash(before.empty() ? kFirstAuditHash : before, entry);
    FEDGLM_RETURN_IF_ERROR(database_
                               ->Execute("INSERT INTO audit (id, unix_ms, actor, action, subject, detail, hash) "
                                         "VALUES (?, ?, ?, ?, ?, ?, ?)",
                                         {entry.id, now, actor, action, subject, detail, entry.hash})
                               .status());
    return entry.id % kEntriesPerCheckpoint == 0 && sign_ ? AddCheckpoint(entry) : absl::OkStatus();
  });
}

absl::Status Store::AddCheckpoint(const AuditRow& entry) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string signature, sign_(CheckpointText(entry.id, entry.hash)));
  return database_
      ->Execute("INSERT OR REPLACE INTO audit_checkpoints VALUES (?, ?, ?)", {entry.id, entry.hash, signature})
      .status();
}

absl::StatusOr<std::vector<AuditRow>> Store::Audit(int64_t after_id, int64_t limit, bool newest) {
  FEDGLM_ASSIGN_OR_RETURN(std::vector<SqlRow> rows,
                          database_->Query(std::string("SELECT ") + kColumns + " FROM audit WHERE id > ? ORDER BY id " +
                                               (newest ? "DESC" : "ASC") + " LIMIT ?",
                                           {after_id, limit}));
  if (newest) std::reverse(rows.begin(), rows.end());
  std::vector<AuditRow> result;
  for (const SqlRow& row : rows) result.push_back(ReadEntry(row));
  return result;
}

absl::StatusOr<std::vector<AuditCheckpoint>> Store::AuditCheckpoints(int64_t first_id, int64_t last_id) {
  FEDGLM_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      database_->Query("SELECT id, hash, signature FROM audit_checkpoints WHERE id BETWEEN ? AND ? ORDER BY id",
                       {first_id, last_id}));
  std::vector<AuditCheckpoint> result;
  for (const SqlRow& row : rows) result.push_back(ReadCheckpoint(row));
  return result;
}

absl::StatusOr<std::optional<AuditCheckpoint>> Store::NewestAuditCheckpoint() {
  FEDGLM_ASSIGN_OR_RETURN(
      const std::vector<SqlRow> rows,
      database_->Query("SELECT id, hash, signature FROM audit_checkpoints ORDER BY id DESC LIMIT 1"));
  return rows.empty() ? std::nullopt : std::optional<AuditCheckpoint>(ReadCheckpoint(rows.front()));
}

}  // namespace fedglm
