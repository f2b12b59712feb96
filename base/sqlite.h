// SQLite in WAL mode with statements, errors translated. sqlite3.h is not included here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"

namespace fedglm {

using SqlValue = std::variant<std::nullptr_t, int64_t, double, std::string>;

// One row of a result; columns from 0.
class SqlRow {
 public:
  explicit SqlRow(std::vector<SqlValue> values) : values_(std::move(values)) {}
  int64_t Integer(size_t column) const;  // 0 if not an integer
  double Number(size_t column) const;
  std::string Text(size_t column) const;  // also blobs; empty if NULL

 private:
  std::vector<SqlValue> values_;
};

// One connection: WAL, synchronous=FULL, foreign keys on, busy timeout 10 s. Thread-safe: calls take turns.
class Database {
 public:
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::filesystem::path& path);
  ~Database();

  // Brings the schema to version steps.size(), which the file holds as PRAGMA user_version: steps[i] is the SQL that
  // leads from version i to i + 1. All steps that are missing are one transaction. BadFile, and nothing is changed, if
  // the file is of a newer version.
  absl::Status Migrate(std::span<const char* const> steps);

  // Runs one or more statements without parameters.
  absl::Status ExecuteScript(std::string_view sql);
  // One statement with ? parameters. Returns the number of rows changed.
  absl::StatusOr<int64_t> Execute(std::string_view sql, const std::vector<SqlValue>& parameters = {});
  absl::StatusOr<std::vector<SqlRow>> Query(std::string_view sql, const std::vector<SqlValue>& parameters = {});
  // BEGIN IMMEDIATE, body, COMMIT; ROLLBACK if body returns an error. Other threads wait. In the body of another one it
  // is a part of that: what an inner body that fails has written is undone, and the outer one goes on as it will.
  absl::Status Transaction(const std::function<absl::Status()>& body);

 private:
  struct State;
  explicit Database(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
