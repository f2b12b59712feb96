#include "base/sqlite.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <thread>

#include "base/file.h"

namespace fedglm {
namespace {

class DatabaseTest : public testing::Test {
 protected:
  void SetUp() override { Open(); }
  void Open() {
    absl::StatusOr<std::unique_ptr<Database>> database = Database::Open(folder_.path() / "state.db");
    ASSERT_TRUE(database.ok()) << Message(database.status());
    database_ = *std::move(database);
    const absl::Status status = database_->ExecuteScript(
        "CREATE TABLE IF NOT EXISTS rounds (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value);"
        "CREATE TABLE IF NOT EXISTS updates (round INTEGER NOT NULL REFERENCES rounds(id));");
    ASSERT_TRUE(status.ok()) << Message(status);
  }
  int64_t Count(Database& database) {
    const auto rows = database.Query("SELECT COUNT(*) FROM rounds");
    EXPECT_TRUE(rows.ok()) << Message(rows.status());
    return rows->at(0).Integer(0);
  }
  absl::Status Insert(const std::string& name) {
    return database_->Execute("INSERT INTO rounds (name) VALUES (?)", {name}).status();
  }

  TemporaryDirectory folder_ = *TemporaryDirectory::Make("fedglm-sqlite-test");
  std::unique_ptr<Database> database_;
};

TEST_F(DatabaseTest, ValuesComeBackAsTheyWere) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  const std::vector<SqlValue> values = {nullptr,
                                        std::numeric_limits<int64_t>::min(),
                                        std::numeric_limits<int64_t>::max(),
                                        0.1,
                                        -1e300,
                                        std::string(),
                                        std::string("'; DROP TABLE rounds; --"),
                                        bytes};
  for (size_t i = 0; i < values.size(); ++i) {
    const auto changed = database_->Execute("INSERT INTO rounds VALUES (?, ?, ?)",
                                            {static_cast<int64_t>(i), "row " + std::to_string(i), values[i]});
    ASSERT_TRUE(changed.ok()) << Message(changed.status());
    EXPECT_EQ(*changed, 1);
  }
  const auto rows = database_->Query("SELECT value FROM rounds ORDER BY id");
  ASSERT_TRUE(rows.ok()) << Message(rows.status());
  ASSERT_EQ(rows->size(), values.size());
  EXPECT_EQ((*rows)[0].Text(0), "");
  EXPECT_EQ((*rows)[1].Integer(0), std::numeric_limits<int64_t>::min());
  EXPECT_EQ((*rows)[2].Integer(0), std::numeric_limits<int64_t>::max());
  EXPECT_EQ((*rows)[3].Number(0), 0.1);
  EXPECT_EQ((*rows)[4].Number(0), -1e300);
  EXPECT_EQ((*rows)[5].Text(0), "");
  EXPECT_EQ((*rows)[6].Text(0), "'; DROP TABLE rounds; --");
  EXPECT_EQ((*rows)[7].Text(0), bytes);
  const auto nulls = database_->Query("SELECT value IS NULL FROM rounds ORDER BY id");
  ASSERT_TRUE(nulls.ok()) << Message(nulls.status());
  EXPECT_EQ((*nulls)[0].Integer(0), 1);
  EXPECT_EQ((*nulls)[5].Integer(0), 0) << "an empty text is no NULL";
}

TEST_F(DatabaseTest, ReadingAnotherTypeGivesItsNothing) {
  const auto rows = database_->Query("SELECT 'text', 7, NULL");
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(rows->at(0).Integer(0), 0);
  EXPECT_EQ(rows->at(0).Number(1), 7.0);
  EXPECT_EQ(rows->at(0).Text(1), "");
  EXPECT_EQ(rows->at(0).Text(2), "");
}

TEST_F(DatabaseTest, ExecuteCountsTheRowsItChanged) {
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(Insert(name).ok());
  EXPECT_EQ(*database_->Execute("UPDATE rounds SET value = 1 WHERE name <> ?", {std::string("a")}), 2);
  EXPECT_EQ(*database_->Execute("UPDATE rounds SET value = 1 WHERE name = 'absent'"), 0);
  EXPECT_EQ(*database_->Execute("DELETE FROM rounds"), 3);
}

TEST_F(DatabaseTest, IsDurableAndCrashSafe) {
  EXPECT_EQ(database_->Query("PRAGMA journal_mode")->at(0).Text(0), "wal");
  EXPECT_EQ(database_->Query("PRAGMA synchronous")->at(0).Integer(0), 2);
  ASSERT_TRUE(Insert("kept").ok());
  database_.reset();
  Open();
  EXPECT_EQ(Count(*database_), 1);
}

TEST_F(DatabaseTest, ATransactionCommitsAllOrNothing) {
  EXPECT_TRUE(database_
                  ->Transaction([&]() -> absl::Status {
                    FEDGLM_RETURN_IF_ERROR(Insert("a"));
                    return Insert("b");
                  })
                  .ok());
  EXPECT_EQ(Count(*database_), 2);

  const absl::Status refused = database_->Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(Insert("c"));
    EXPECT_EQ(Count(*database_), 3) << "the body sees its own writes";
    return RefusedError("no such round");
  });
  EXPECT_EQ(ExitCodeOf(refused), ExitCode::kRefused) << "the body's own error is the one that is told";
  EXPECT_EQ(Message(refused), "no such round");
  EXPECT_EQ(Count(*database_), 2);

  EXPECT_FALSE(database_
                   ->Transaction([&]() -> absl::Status {
                     FEDGLM_RETURN_IF_ERROR(Insert("d"));
                     return Insert("a");  // a name that is there
                   })
                   .ok());
  EXPECT_EQ(Count(*database_), 2);
  EXPECT_TRUE(database_->Transaction([&] { return Insert("e"); }).ok()) << "the next one is not disturbed";
  EXPECT_EQ(Count(*database_), 3);
}

TEST_F(DatabaseTest, ATransactionInATransactionIsAPartOfIt) {
  EXPECT_TRUE(database_
                  ->Transaction([&]() -> absl::Status {
                    FEDGLM_RETURN_IF_ERROR(Insert("a"));
                    FEDGLM_RETURN_IF_ERROR(database_->Transaction([&] { return Insert("b"); }));
                    const absl::Status inner = database_->Transaction([&]() -> absl::Status {
                      FEDGLM_RETURN_IF_ERROR(Insert("c"));
                      return RefusedError("not this");
                    });
                    EXPECT_EQ(Message(inner), "not this");
                    EXPECT_EQ(Count(*database_), 2);
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_EQ(Count(*database_), 2);
  const absl::Status outer = database_->Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(database_->Transaction([&] { return Insert("d"); }));
    return RefusedError("nor that");
  });
  EXPECT_EQ(Message(outer), "nor that");
  EXPECT_EQ(Count(*database_), 2);
}

TEST_F(DatabaseTest, ACommitThatIsRefusedIsRolledBack) {
  const absl::Status status = database_->Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(database_->ExecuteScript("PRAGMA defer_foreign_keys=ON"));
    FEDGLM_RETURN_IF_ERROR(Insert("a"));
    return database_->Execute("INSERT INTO updates VALUES (99)").status();
  });
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kFailed);
  EXPECT_EQ(Count(*database_), 0);
  EXPECT_TRUE(Insert("b").ok());
}

TEST_F(DatabaseTest, AnotherConnectionSeesOnlyWhatIsCommitted) {
  const auto other = Database::Open(folder_.path() / "state.db");
  ASSERT_TRUE(other.ok());
  EXPECT_TRUE(database_
                  ->Transaction([&]() -> absl::Status {
                    FEDGLM_RETURN_IF_ERROR(Insert("a"));
                    EXPECT_EQ(Count(**other), 0);
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_EQ(Count(**other), 1);
}

TEST_F(DatabaseTest, ErrorsAreToldAndNameTheFile) {
  const std::string path = (folder_.path() / "state.db").string();
  const absl::Status statuses[] = {
      database_->Query("SELECT * FROM absent").status(),
      database_->Query("SELEKT 1").status(),
      database_->Query("").status(),
      database_->ExecuteScript("CREATE TABLE rounds (id)"),
      database_->Execute("INSERT INTO rounds (name) VALUES (NULL)").status(),
      database_->Execute("INSERT INTO updates VALUES (99)").status(),  // foreign keys are on
      database_->Execute("INSERT INTO rounds (name) VALUES (?)", {std::string("a"), int64_t{1}}).status(),
  };
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kFailed);
    EXPECT_EQ(Message(status).find(path), 0u) << Message(status);
  }
  EXPECT_EQ(Count(*database_), 0);
}

class MigrationTest : public DatabaseTest {
 protected:
  absl::Status Migrate(const std::vector<const char*>& steps) { return database_->Migrate(steps); }
  int64_t Version() { return database_->Query("PRAGMA user_version")->at(0).Integer(0); }
};

TEST_F(MigrationTest, EachStepIsTakenOnceAndInItsOrder) {
  EXPECT_EQ(Version(), 0);
  const char* const first = "CREATE TABLE sites (name TEXT); INSERT INTO sites VALUES ('a');";
  ASSERT_TRUE(Migrate({first}).ok());
  EXPECT_EQ(Version(), 1);
  Open();  // the version is the file's
  ASSERT_TRUE(Migrate({first}).ok());
  ASSERT_TRUE(Migrate({first, "ALTER TABLE sites ADD COLUMN city TEXT", "UPDATE sites SET city = 'Aachen'"}).ok());
  EXPECT_EQ(Version(), 3);
  const auto rows = database_->Query("SELECT name, city FROM sites");
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->at(0).Text(1), "Aachen");
}

TEST_F(MigrationTest, AStepThatFailsLeavesTheSchemaAndItsVersion) {
  ASSERT_TRUE(Migrate({"CREATE TABLE sites (name TEXT)"}).ok());
  EXPECT_FALSE(Migrate({"", "CREATE TABLE cities (name TEXT)", "INSERT INTO absent VALUES (1)"}).ok());
  EXPECT_EQ(Version(), 1);
  EXPECT_FALSE(database_->Query("SELECT * FROM cities").ok());
}

TEST_F(MigrationTest, ANewerSchemaIsLeftAsItIs) {
  ASSERT_TRUE(Migrate({"", "", ""}).ok());
  const absl::Status status = Migrate({"", "CREATE TABLE cities (name TEXT)"});
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
  EXPECT_EQ(Message(status),
            (folder_.path() / "state.db").string() +
                ": its schema has version 3, and this program knows those up to 2: use a newer program");
  EXPECT_EQ(Version(), 3);
}

TEST_F(DatabaseTest, WhatIsNoDatabaseIsNotOpenedAndNotTouched) {
  const std::string text(2000, 'x');
  ASSERT_TRUE(WriteFileAtomically(folder_.path() / "text", text).ok());
  EXPECT_FALSE(Database::Open(folder_.path() / "text").ok());
  EXPECT_EQ(*ReadFile(folder_.path() / "text"), text);
  EXPECT_FALSE(Database::Open(folder_.path() / "missing" / "state.db").ok());
  EXPECT_FALSE(Database::Open(folder_.path()).ok());
}

TEST_F(DatabaseTest, TransactionsOfSeveralThreadsTakeTurns) {
  ASSERT_TRUE(database_->Execute("INSERT INTO rounds VALUES (1, 'counter', 0)").ok());
  constexpr int kThreads = 4, kTimes = 10;
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kTimes; ++j) {
        const absl::Status status = database_->Transaction([&]() -> absl::Status {
          FEDGLM_ASSIGN_OR_RETURN(const auto rows, database_->Query("SELECT value FROM rounds WHERE id = 1"));
          const int64_t next = rows.at(0).Integer(0) + 1;
          return database_->Execute("UPDATE rounds SET value = ? WHERE id = 1", {next}).status();
        });
        if (!status.ok()) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(database_->Query("SELECT value FROM rounds WHERE id = 1")->at(0).Integer(0), kThreads * kTimes);
}

}  // namespace
}  // namespace fedglm
