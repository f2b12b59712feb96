// Databases that programs of their time made (tests/data/store, by `sqlite3 state.sqlite .dump`): each is opened,
// brought to the newest schema, and read in full.
#include <gtest/gtest.h>

#include "aggregator/store/store.h"
#include "tests/aggregator/rounds/small_federation.h"
#include "tests/support/source_tree.h"

namespace fedglm {
namespace {

class OldDatabaseTest : public testing::Test {
 protected:
  // The store over the database of that dump, after it was opened twice: the second time there is nothing to migrate.
  std::unique_ptr<Store> Open(const std::string& name, int64_t version) {
    const std::filesystem::path dump = SourceFolder() / "tests/data/store" / name;
    {
      const std::unique_ptr<Database> database = Get(Database::Open(path_));
      EXPECT_TRUE(database->ExecuteScript(Get(ReadFile(dump))).ok());
      EXPECT_EQ(Version(*database), version);
    }
    Get(Store::Open(path_));
    EXPECT_GT(Version(*Get(Database::Open(path_))), version);
    return Get(Store::Open(path_));
  }
  static int64_t Version(Database& database) { return Get(database.Query("PRAGMA user_version")).at(0).Integer(0); }
  const TemporaryDirectory folder_ = MakeFolder();
  const std::filesystem::path path_ = folder_.path() / "state.sqlite";
};

// Two sites that enrolled with tokens, a round that is done, and one that is open.
TEST_F(OldDatabaseTest, OfTheTimeBeforeVersionsIsRead) {
  const std::unique_ptr<Store> store = Open("version-0.sql", 0);
  EXPECT_EQ(Get(store->Setting("federation")), "test");
  EXPECT_EQ(Get(store->Setting("mode")), "freeze-a");
  const std::string initial = Get(store->Setting("initial_adapter"));

  const TokenRow token = *Get(store->FindToken("67d7646b05b8349a72e592c8a1613f84ea4629c88e56c47a720186579064511c"));
  EXPECT_EQ(token.site_name, "a");
  EXPECT_EQ(token.expires_unix_ms, 1796026415076);
  EXPECT_EQ(token.used_by, "a");
  EXPECT_EQ(token.used_key, "6daea63bff4f29c8e5359a45542b7d2714f8380ff514a9e909ba0b31862858ee");

  const std::vector<NodeRow> nodes = store->Nodes();
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(nodes[0].site_id, "a");
  EXPECT_FALSE(nodes[0].revoked);
  EXPECT_EQ(nodes[0].serial, "2E58FED388CA26AFE93E34C06371C11C");
  EXPECT_EQ(nodes[0].certificate_pem.text().find("-----BEGIN CERTIFICATE-----\n"), 0u);
  EXPECT_EQ(nodes[0].training_records, 10);
  EXPECT_EQ(nodes[0].bytes_received, 304);
  EXPECT_EQ(nodes[0].next_serial, "") << "from a time before there was a next certificate";
  EXPECT_TRUE(nodes[0].next_certificate_pem.empty());

  const std::vector<RoundRow> rounds = Get(store->RoundsAfter(0, 10));
  ASSERT_EQ(rounds.size(), 2u);
  EXPECT_EQ(rounds[0].state, RoundState::kDone);
  EXPECT_EQ(rounds[0].adapter_in, initial);
  EXPECT_EQ(rounds[0].adapter_out, "e63527518ae7713de1cfd4c01a08f3a345dec7e0e9f0dda960e8f8c4684cee8f");
  EXPECT_EQ(rounds[0].ended_unix_ms, 1796026355076);
  EXPECT_EQ(rounds[1].state, RoundState::kOpen);
  EXPECT_EQ(rounds[1].adapter_in, rounds[0].adapter_out);
  EXPECT_EQ(rounds[1].adapter_out, "");
  EXPECT_EQ(rounds[1].started_unix_ms, 1796026355076);
  EXPECT_EQ(rounds[1].deadline_unix_ms, 1796026415076);

  const UpdateRow accepted = *Get(store->FindUpdate("59d8aab9253db21eb6d3822ecf17ab26"));
  EXPECT_EQ(accepted.round, 1);
  EXPECT_EQ(accepted.site_id, "a");
  EXPECT_EQ(accepted.state, UpdateState::kAccepted);
  EXPECT_EQ(accepted.sha256, "8a6f071ceaabca4a4b4daf7f12891158df13d0ef107af5716849cb82bfa0a446");
  EXPECT_EQ(accepted.bytes, 304);
  EXPECT_EQ(accepted.examples, 5);
  EXPECT_EQ(accepted.training_loss, 2.0);
  const std::vector<UpdateRow> expected = Get(store->UpdatesOf(2));
  ASSERT_EQ(expected.size(), 2u);
  for (const UpdateRow& update : expected) EXPECT_EQ(update.state, UpdateState::kExpected);

  const std::vector<EvaluationRow> evaluations = Get(store->EvaluationsOf(1));
  ASSERT_EQ(evaluations.size(), 1u);
  EXPECT_EQ(evaluations[0].site_id, "a");
  EXPECT_EQ(evaluations[0].loss, 1.5);
  EXPECT_EQ(evaluations[0].tokens, 100);
  const std::vector<AuditRow> audit = Get(store->Audit(0, 100));
  ASSERT_EQ(audit.size(), 7u);
  EXPECT_EQ(audit[6].action, "evaluation failed");
  EXPECT_EQ(audit[0].hash, AuditHash(kFirstAuditHash, audit[0])) << "it became a chain";
}

// And it goes on: what was expected is decided, the log grows where it ended.
TEST_F(OldDatabaseTest, OfTheTimeBeforeVersionsGoesOn) {
  const std::unique_ptr<Store> store = Open("version-0.sql", 0);
  std::vector<UpdateRow> updates = Get(store->UpdatesOf(2));
  std::erase_if(updates, [](const UpdateRow& update) { return update.state != UpdateState::kExpected; });
  UpdateRow update = updates.at(0);
  update.state = UpdateState::kAccepted;
  ASSERT_TRUE(store->DecideUpdate(update, 1).ok());
  EXPECT_EQ(Get(store->FindUpdate(update.update_id))->state, UpdateState::kAccepted);
  EXPECT_EQ(Get(store->Audit(7, 100)).at(0).id, 8);
  NodeRow node = *store->FindNode("a");
  node.next_serial = "0B";
  ASSERT_TRUE(store->PutNextCertificate(node).ok());
  EXPECT_EQ(store->FindNode("a")->next_serial, "0B");
  AuditChain chain;
  for (const AuditRow& entry : Get(store->Audit(0, 100))) EXPECT_EQ(Message(chain.Add(entry)), "");
  EXPECT_EQ(chain.entries(), 8);
}

// A site was revoked in round 1, and its update refused.
TEST_F(OldDatabaseTest, OfTheTimeBeforeVersionsSaysWhatWasRefused) {
  const std::unique_ptr<Store> store = Open("version-0-revoked.sql", 0);
  EXPECT_TRUE(store->FindNode("c")->revoked);
  EXPECT_FALSE(store->FindNode("a")->revoked);
  EXPECT_EQ(store->FindNode("a")->installed_round, 1);
  const UpdateRow refused = *Get(store->FindUpdate("0ed6dc122ccaee8b0611e4bd7332f216"));
  EXPECT_EQ(refused.state, UpdateState::kRefused);
  EXPECT_EQ(refused.reason, "the site was revoked");
  EXPECT_EQ(Get(store->UpdatesOf(1)).size(), 3u);
}

// As the program before the third version left it: what it wrote is there, and what came since is empty.
TEST_F(OldDatabaseTest, OfVersionTwoIsReadAndHasNoNextCertificates) {
  {
    Open("version-0.sql", 0);
    const std::unique_ptr<Database> database = Get(Database::Open(path_));
    for (const char* column : {"next_serial", "next_certificate_pem", "next_request_sha256"}) {
      ASSERT_TRUE(database->ExecuteScript(std::string("ALTER TABLE nodes DROP COLUMN ") + column).ok());
    }
    ASSERT_TRUE(database
                    ->ExecuteScript("ALTER TABLE audit DROP COLUMN hash; DROP TABLE audit_checkpoints;"
                                    "PRAGMA user_version = 2")
                    .ok());
  }
  const std::unique_ptr<Store> store = Get(Store::Open(path_));
  EXPECT_EQ(Version(*Get(Database::Open(path_))), 4);
  const NodeRow node = *store->FindNode("a");
  EXPECT_EQ(node.serial, "2E58FED388CA26AFE93E34C06371C11C");
  EXPECT_EQ(node.next_serial, "");
  EXPECT_EQ(node.next_request_sha256, "");
  EXPECT_EQ(Get(store->RoundsAfter(0, 10)).size(), 2u);
}

TEST_F(OldDatabaseTest, OfANewerProgramIsNotOpened) {
  Get(Store::Open(path_));
  ASSERT_TRUE(Get(Database::Open(path_))->ExecuteScript("PRAGMA user_version = 1000").ok());
  const absl::Status status = Store::Open(path_).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
  EXPECT_NE(Message(status).find("version 1000"), std::string::npos) << Message(status);
}

}  // namespace
}  // namespace fedglm
