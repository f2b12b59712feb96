#include "aggregator/store/store.h"

#include <gtest/gtest.h>

#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {
namespace {

class StoreTest : public testing::Test {
 protected:
  void SetUp() override { Reopen(); }
  // What is read after this was on disk.
  void Reopen() {
    store_.reset();
    store_ = Get(Store::Open(folder_.path() / "state.sqlite"));
  }
  void AddNode(const std::string& site) {
    NodeRow node;
    node.site_id = site;
    node.serial = "0A";
    node.certificate_pem = CertificatePem("PEM of " + site);
    ASSERT_TRUE(store_->PutNode(node).ok());
  }
  void OpenRoundOne() {
    RoundRow round;
    round.round = 1;
    round.adapter_in = "in";
    round.state_in = "before";
    round.started_unix_ms = 100;
    round.deadline_unix_ms = 200;
    ASSERT_TRUE(store_->OpenRound(round, {{"u2", "berlin"}, {"u1", "aachen"}}).ok());
  }
  UpdateRow Decided(UpdateState state) {
    UpdateRow update;
    update.update_id = "u1";
    update.round = 1;
    update.site_id = "aachen";
    update.state = state;
    update.sha256 = "abc";
    update.bytes = 77;
    update.examples = 5;
    update.training_loss = 1.25;
    update.reason = state == UpdateState::kRefused ? "too bad" : "";
    return update;
  }
  TemporaryDirectory folder_ = MakeFolder();
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, SettingsAreKept) {
  EXPECT_EQ(Get(store_->Setting("mode")), "");
  ASSERT_TRUE(store_->SetSetting("mode", "stack").ok());
  ASSERT_TRUE(store_->SetSetting("mode", "freeze-a").ok());
  Reopen();
  EXPECT_EQ(Get(store_->Setting("mode")), "freeze-a");
}

TEST_F(StoreTest, TokensAreKeptWithTheirUse) {
  ASSERT_TRUE(store_->AddToken({"hash", "berlin", 1234}).ok());
  EXPECT_FALSE(store_->AddToken({"hash", "other", 1}).ok());
  EXPECT_FALSE(Get(store_->FindToken("another")).has_value());
  Reopen();
  const TokenRow fresh = *Get(store_->FindToken("hash"));
  EXPECT_EQ(fresh.site_name, "berlin");
  EXPECT_EQ(fresh.expires_unix_ms, 1234);
  EXPECT_EQ(fresh.used_by, "");
  ASSERT_TRUE(store_->MarkTokenUsed("hash", "berlin", "request").ok());
  Reopen();
  const TokenRow used = *Get(store_->FindToken("hash"));
  EXPECT_EQ(used.used_by, "berlin");
  EXPECT_EQ(used.used_key, "request");
}

TEST_F(StoreTest, NodesAreKeptAndANewCertificateReinstates) {
  EXPECT_FALSE(store_->FindNode("berlin").has_value());
  AddNode("berlin");
  AddNode("aachen");
  store_->TouchNode("berlin", 50, 12, 3);
  ASSERT_TRUE(store_->RevokeNode("berlin").ok());
  EXPECT_EQ(store_->RevokeNode("nowhere").code(), absl::StatusCode::kNotFound);
  Reopen();
  NodeRow node = *store_->FindNode("berlin");
  EXPECT_TRUE(node.revoked);
  EXPECT_EQ(node.serial, "0A");
  EXPECT_EQ(node.certificate_pem.text(), "PEM of berlin");
  EXPECT_EQ(node.last_seen_unix_ms, 50);
  EXPECT_EQ(node.training_records, 12);
  EXPECT_EQ(node.installed_round, 3);
  EXPECT_EQ(store_->Nodes().size(), 2u);

  node.serial = "0B";
  ASSERT_TRUE(store_->PutNode(node).ok());
  node = *store_->FindNode("berlin");
  EXPECT_FALSE(node.revoked);
  EXPECT_EQ(node.serial, "0B");
  EXPECT_EQ(node.last_seen_unix_ms, 50);
}

TEST_F(StoreTest, ANextCertificateIsKeptBesideThePresentOneUntilItIsAdopted) {
  AddNode("aachen");
  AddNode("berlin");
  ASSERT_TRUE(store_->AdoptNextCertificate("berlin").ok());
  EXPECT_EQ(store_->FindNode("berlin")->serial, "0A") << "it has none";
  NodeRow node = *store_->FindNode("berlin");
  node.next_serial = "0B";
  node.next_certificate_pem = CertificatePem("the next PEM");
  node.next_request_sha256 = "digest";
  ASSERT_TRUE(store_->PutNextCertificate(node).ok());
  Reopen();
  node = *store_->FindNode("berlin");
  EXPECT_EQ(node.serial, "0A");
  EXPECT_EQ(node.certificate_pem.text(), "PEM of berlin");
  EXPECT_EQ(node.next_serial, "0B");
  EXPECT_EQ(node.next_certificate_pem.text(), "the next PEM");
  EXPECT_EQ(node.next_request_sha256, "digest");
  EXPECT_EQ(store_->FindNode("aachen")->next_serial, "") << "of this site alone";

  ASSERT_TRUE(store_->AdoptNextCertificate("berlin").ok());
  Reopen();
  node = *store_->FindNode("berlin");
  EXPECT_EQ(node.serial, "0B");
  EXPECT_EQ(node.certificate_pem.text(), "the next PEM");
  EXPECT_EQ(node.next_serial, "");
  EXPECT_TRUE(node.next_certificate_pem.empty());
  EXPECT_EQ(node.next_request_sha256, "");
  EXPECT_EQ(store_->FindNode("aachen")->serial, "0A");
}

TEST_F(StoreTest, RoundsAreKept) {
  EXPECT_FALSE(Get(store_->LastRound()).has_value());
  OpenRoundOne();
  Reopen();
  RoundRow round = *Get(store_->LastRound());
  EXPECT_EQ(round.state, RoundState::kOpen);
  EXPECT_EQ(round.adapter_in, "in");
  EXPECT_EQ(round.started_unix_ms, 100);
  EXPECT_EQ(round.deadline_unix_ms, 200);
  round.adapter_out = "out";
  round.state_out = "remembered";
  round.truncation_error = 0.25;
  round.ended_unix_ms = 150;
  ASSERT_TRUE(store_->CloseRound(round).ok());
  Reopen();
  round = *Get(store_->LastRound());
  EXPECT_EQ(round.state, RoundState::kDone);
  EXPECT_EQ(round.adapter_out, "out");
  EXPECT_EQ(round.state_in, "before");
  EXPECT_EQ(round.state_out, "remembered");
  EXPECT_EQ(round.ended_unix_ms, 150);
  EXPECT_EQ(round.truncation_error, 0.25);
  EXPECT_EQ(Get(store_->RoundsAfter(0, 10)).size(), 1u);
  EXPECT_TRUE(Get(store_->RoundsAfter(0, 0)).empty());
  EXPECT_TRUE(Get(store_->RoundsAfter(1, 10)).empty());
}

TEST_F(StoreTest, ARoundOpensWithItsWholeCohortOrNotAtAll) {
  RoundRow round;
  round.round = 1;
  round.adapter_in = "in";
  EXPECT_FALSE(store_->Transaction([&] {
                       return store_->OpenRound(round, {{"u1", "aachen"}, {"u1", "berlin"}});
                     })
                   .ok());  // an id that is there twice
  Reopen();
  EXPECT_FALSE(Get(store_->LastRound()).has_value());
  EXPECT_TRUE(Get(store_->UpdatesOf(1)).empty());
  OpenRoundOne();
  const std::vector<UpdateRow> expected = Get(store_->UpdatesOf(1));
  ASSERT_EQ(expected.size(), 2u);
  EXPECT_EQ(expected[0].update_id, "u1");  // in the order of ids
  EXPECT_EQ(expected[0].site_id, "aachen");
  EXPECT_EQ(expected[0].state, UpdateState::kExpected);
  EXPECT_FALSE(store_->OpenRound(round, {}).ok());  // the same round again
}

TEST_F(StoreTest, AnUpdateIsDecidedOnce) {
  AddNode("aachen");
  OpenRoundOne();
  ASSERT_TRUE(store_->DecideUpdate(Decided(UpdateState::kAccepted), 120).ok());
  EXPECT_FALSE(store_->DecideUpdate(Decided(UpdateState::kAccepted), 121).ok());
  EXPECT_FALSE(store_->DecideUpdate(Decided(UpdateState::kRefused), 122).ok());
  Reopen();
  const UpdateRow update = *Get(store_->FindUpdate("u1"));
  EXPECT_EQ(update.state, UpdateState::kAccepted);
  EXPECT_EQ(update.sha256, "abc");
  EXPECT_EQ(update.bytes, 77);
  EXPECT_EQ(update.examples, 5);
  EXPECT_EQ(update.training_loss, 1.25);
  EXPECT_EQ(update.reason, "");
  EXPECT_EQ(store_->FindNode("aachen")->bytes_received, 77);
  const std::vector<AuditRow> audit = Get(store_->Audit(0, 10));
  ASSERT_EQ(audit.size(), 1u);
  EXPECT_EQ(audit[0].action, "update accepted");
  EXPECT_EQ(audit[0].actor, "aachen");
  EXPECT_EQ(audit[0].subject, "round 1");
}

TEST_F(StoreTest, WhatIsExpectedOfOneSiteCanBeRefusedTogether) {
  AddNode("aachen");
  OpenRoundOne();
  ASSERT_TRUE(store_->RefuseUpdates(1, "berlin", "gone").ok());
  EXPECT_EQ(Get(store_->FindUpdate("u2"))->state, UpdateState::kRefused);
  EXPECT_EQ(Get(store_->FindUpdate("u2"))->reason, "gone");
  EXPECT_EQ(Get(store_->FindUpdate("u1"))->state, UpdateState::kExpected);
  EXPECT_EQ(store_->CountUpdates().expected, 1);
  EXPECT_EQ(store_->CountUpdates().refused, 1);
}

TEST_F(StoreTest, WhatASiteSentForTheOpenRoundCanBeRefusedAfterwards) {
  AddNode("aachen");
  OpenRoundOne();
  ASSERT_TRUE(store_->DecideUpdate(Decided(UpdateState::kAccepted), 120).ok());
  ASSERT_TRUE(store_->RefuseUpdates(1, "aachen", "gone").ok());
  EXPECT_EQ(Get(store_->FindUpdate("u1"))->state, UpdateState::kRefused);
}

TEST_F(StoreTest, ALostUpdateIsExpectedAgain) {
  AddNode("aachen");
  OpenRoundOne();
  ASSERT_TRUE(store_->DecideUpdate(Decided(UpdateState::kAccepted), 120).ok());
  ASSERT_TRUE(store_->ExpectAgain("u1").ok());
  EXPECT_EQ(Get(store_->FindUpdate("u1"))->state, UpdateState::kExpected);
  EXPECT_TRUE(store_->DecideUpdate(Decided(UpdateState::kAccepted), 130).ok());
}

TEST_F(StoreTest, EvaluationsAreOneForASiteAndRound) {
  ASSERT_TRUE(store_->PutEvaluation({1, "berlin", 2.5, 100}).ok());
  ASSERT_TRUE(store_->PutEvaluation({1, "aachen", 3.5, 50}).ok());
  EXPECT_EQ(Get(store_->PutEvaluation({1, "berlin", 2.25, 110})).loss, 2.5) << "the first stays";
  Reopen();
  const std::vector<EvaluationRow> rows = Get(store_->EvaluationsOf(1));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].site_id, "aachen");
  EXPECT_EQ(rows[1].loss, 2.5);
  EXPECT_EQ(rows[1].tokens, 100);
  EXPECT_TRUE(Get(store_->EvaluationsOf(2)).empty());
}

TEST_F(StoreTest, WhatASiteDidInARoundIsReadInPages) {
  AddNode("aachen");
  OpenRoundOne();
  ASSERT_TRUE(store_->DecideUpdate(Decided(UpdateState::kAccepted), 1).ok());
  ASSERT_TRUE(store_->PutEvaluation({0, "aachen", 3, 10}).ok());
  ASSERT_TRUE(store_->PutEvaluation({1, "berlin", 0, 20}).ok());
  ASSERT_TRUE(store_->PutEvaluation({2, "aachen", 1, 30}).ok());
  const std::vector<SiteRoundRow> all = Get(store_->SiteRoundsAfter(-1, "", 1000, 100));
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].round, 0);
  EXPECT_EQ(all[0].held_out_loss, 3);
  EXPECT_EQ(all[0].training_loss, std::nullopt);
  EXPECT_EQ(all[1].site_id, "aachen");
  EXPECT_EQ(all[1].training_loss, 1.25);
  EXPECT_EQ(all[1].examples, 5);
  EXPECT_EQ(all[1].held_out_loss, std::nullopt);
  EXPECT_EQ(all[2].site_id, "berlin") << "whose update is expected";
  EXPECT_EQ(all[2].held_out_loss, 0);
  EXPECT_EQ(all[2].tokens, 20);
  EXPECT_EQ(all[2].training_loss, std::nullopt);
  EXPECT_EQ(all[3].round, 2);
  const std::vector<SiteRoundRow> page = Get(store_->SiteRoundsAfter(1, "aachen", 1000, 1));
  ASSERT_EQ(page.size(), 1u);
  EXPECT_EQ(page[0].site_id, "berlin");
  EXPECT_EQ(Get(store_->SiteRoundsAfter(1, "berlin", 1000, 9)).size(), 1u);
  EXPECT_TRUE(Get(store_->SiteRoundsAfter(1, "berlin", 1, 9)).empty());
}

TEST_F(StoreTest, TheAuditLogIsReadInPages) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(store_->AddAudit(i, "actor", "action", "subject", std::to_string(i)).ok());
  Reopen();
  const std::vector<AuditRow> page = Get(store_->Audit(2, 2));
  ASSERT_EQ(page.size(), 2u);
  EXPECT_EQ(page[0].id, 3);
  EXPECT_EQ(page[0].unix_ms, 2);
  EXPECT_EQ(page[1].detail, "3");
}

TEST_F(StoreTest, ATransactionThatFailsLeavesNothing) {
  const absl::Status failed = store_->Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_->SetSetting("mode", "stack"));
    return FailedError("no");
  });
  EXPECT_EQ(Message(failed), "no");
  EXPECT_EQ(Get(store_->Setting("mode")), "");
}

TEST(Store, AFileThatIsNoDatabaseIsAnError) {
  const TemporaryDirectory folder = MakeFolder();
  ASSERT_TRUE(WriteFileAtomically(folder.path() / "state.sqlite", std::string(5000, 'x')).ok());
  EXPECT_FALSE(Store::Open(folder.path() / "state.sqlite").ok());
  EXPECT_EQ(Get(ReadFile(folder.path() / "state.sqlite")), std::string(5000, 'x'));
}

}  // namespace
}  // namespace fedglm
