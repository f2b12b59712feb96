#include "base/sqlite.h"

#include <sqlite3.h>

#include "base/thread_annotations.h"

namespace fedglm {
namespace {

struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// Counts up while it lives.
class Nested {
 public:
  explicit Nested(int& depth) : depth_(depth) { ++depth_; }
  ~Nested() { --depth_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  int& depth_;
};

int Bind(sqlite3_stmt* statement, int index, const SqlValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return sqlite3_bind_int64(statement, index, *integer);
  if (const auto* number = std::get_if<double>(&value)) return sqlite3_bind_double(statement, index, *number);
  if (const auto* text = std::get_if<std::string>(&value)) {
    return sqlite3_bind_text(statement, index, text->data(), static_cast<int>(text->size()), SQLITE_TRANSIENT);
  }
  return sqlite3_bind_null(statement, index);
}

SqlValue Column(sqlite3_stmt* statement, int index) {
  switch (sqlite3_column_type(statement, index)) {
    case SQLITE_INTEGER:
      return int64_t{sqlite3_column_int64(statement, index)};
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, index);
    case SQLITE_NULL:
      return nullptr;
    default: {
      const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement, index));
      return std::string(bytes != nullptr ? bytes : "", static_cast<size_t>(sqlite3_column_bytes(statement, index)));
    }
  }
}

}  // namespace

int64_t SqlRow::Integer(size_t column) const {
  const auto* value = std::get_if<int64_t>(&values_.at(column));
  return value != nullptr ? *value : 0;
}

double SqlRow::Number(size_t column) const {
  if (const auto* value = std::get_if<double>(&values_.at(column))) return *value;
  return static_cast<double>(Integer(column));
}

std::string SqlRow::Text(size_t column) const {
  const auto* value = std::get_if<std::string>(&values_.at(column));
  return value != nullptr ? *value : "";
}

struct Database::State {
  std::string path;
  RecursiveMutex mutex;  // held for the whole of a Transaction, whose body calls Execute
  sqlite3* handle ABSL_GUARDED_BY(mutex) = nullptr;
  int transactions ABSL_GUARDED_BY(mutex) = 0;  // that are open, one in the other

  ~State() { sqlite3_close(handle); }
  absl::Status Error(std::string_view doing) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return FailedError(path + ": " + std::string(doing) + ": " + sqlite3_errmsg(handle));
  }
  absl::StatusOr<Statement> Prepare(std::string_view sql, const std::vector<SqlValue>& parameters) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(handle, sql.data(), static_cast<int>(sql.size()), &raw, nullptr) != SQLITE_OK)
      return Error("SQL");
    Statement statement(raw);
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (Bind(raw, static_cast<int>(i) + 1, parameters[i]) != SQLITE_OK) return Error("SQL parameter");
    }
    return statement;
  }
};

Database::Database(std::unique_ptr<State> state) : state_(std::move(state)) {}
Database::~Database() = default;

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::filesystem::path& path) {
  auto state = std::make_unique<State>();
  state->path = path.string();
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  {
    RecursiveMutexLock lock(state->mutex);
    if (sqlite3_open_v2(path.c_str(), &state->handle, flags, nullptr) != SQLITE_OK) return state->Error("cannot open");
    sqlite3_busy_timeout(state->handle, 10000);
  }
  std::unique_ptr<Database> database(new Database(std::move(state)));
  FEDGLM_RETURN_IF_ERROR(
      database->ExecuteScript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"));
  return database;
}

absl::Status Database::Migrate(std::span<const char* const> steps) {
  const auto known = static_cast<int64_t>(steps.size());
  return Transaction([&]() -> absl::Status {
    FEDGLM_ASSIGN_OR_RETURN(const std::vector<SqlRow> rows, Query("PRAGMA user_version"));
    const int64_t version = rows.at(0).Integer(0);
    if (version < 0 || version > known) {
      return BadFileError(state_->path + ": its schema has version " + std::to_string(version) +
                          ", and this program knows those up to " + std::to_string(known) + ": use a newer program");
    }
    if (version == known) return absl::OkStatus();
    for (const char* step : steps.subspan(static_cast<size_t>(version))) FEDGLM_RETURN_IF_ERROR(ExecuteScript(step));
    return ExecuteScript("PRAGMA user_version = " + std::to_string(known));  // a pragma takes no parameter
  });
}

absl::Status Database::ExecuteScript(std::string_view sql) {
  RecursiveMutexLock lock(state_->mutex);
  const std::string text(sql);
  if (sqlite3_exec(state_->handle, text.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return state_->Error("SQL");
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Database::Execute(std::string_view sql, const std::vector<SqlValue>& parameters) {
  RecursiveMutexLock lock(state_->mutex);
  FEDGLM_ASSIGN_OR_RETURN(const Statement statement, state_->Prepare(sql, parameters));
  int result;
  do {
    result = sqlite3_step(statement.get());
  } while (result == SQLITE_ROW);
  if (result != SQLITE_DONE) return state_->Error("cannot write");
  return int64_t{sqlite3_changes(state_->handle)};
}

absl::StatusOr<std::vector<SqlRow>> Database::Query(std::string_view sql, const std::vector<SqlValue>& parameters) {
  RecursiveMutexLock lock(state_->mutex);
  FEDGLM_ASSIGN_OR_RETURN(const Statement statement, state_->Prepare(sql, parameters));
  std::vector<SqlRow> rows;
  while (true) {
    const int result = sqlite3_step(statement.get());
    if (result == SQLITE_DONE) return rows;
    if (result != SQLITE_ROW) return state_->Error("cannot read");
    std::vector<SqlValue> values;
    for (int i = 0; i < sqlite3_column_count(statement.get()); ++i) values.push_back(Column(statement.get(), i));
    rows.emplace_back(std::move(values));
  }
}

absl::Status Database::Transaction(const std::function<absl::Status()>& body) {
  RecursiveMutexLock lock(state_->mutex);
  const bool inner = state_->transactions > 0;
  FEDGLM_RETURN_IF_ERROR(ExecuteScript(inner ? "SAVEPOINT inner_part" : "BEGIN IMMEDIATE"));
  absl::Status status;
  {
    const Nested nested(state_->transactions);
    status = body();
  }
  if (status.ok()) status = ExecuteScript(inner ? "RELEASE inner_part" : "COMMIT");
  // Also after a failed COMMIT; the first error is the one to tell.
  if (!status.ok()) (void)ExecuteScript(inner ? "ROLLBACK TO inner_part; RELEASE inner_part" : "ROLLBACK");
  return status;
}

}  // namespace fedglm
