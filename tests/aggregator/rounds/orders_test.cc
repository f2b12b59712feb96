// What an administrator orders while rounds go on.
#include <gtest/gtest.h>

#include "tests/aggregator/rounds/open_round.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

class OrdersTest : public RoundMachineTest {
 protected:
  void SetUp() override {
    rooms_ = Make([](AggregatorOptions& options) {
      options.min_sites = 3;
      options.min_updates = 2;
    });
    work_ = BeginRound(*rooms_, {"a", "b", "c"});
  }
  RoundMachine& machine() { return rooms_->machine(); }
  UpdateState Send(size_t site) {
    const Adapter global = rooms_->Published(work_[site].adapter_sha256);
    const TensorMap update = RandomUpdate(global, UpdateForm::kChangeOfB, static_cast<unsigned>(site));
    return rooms_->Send(std::string(1, static_cast<char>('a' + site)), work_[site], update, 5).state;
  }
  UpdateRow Update(size_t site) { return *Get(rooms_->store().FindUpdate(work_[site].update_id)); }
  int64_t OpenRound() { return machine().Summary().round; }
  bool Audited(const std::string& action) {
    for (const AuditRow& row : Get(rooms_->store().Audit(0, 1000))) {
      if (row.action == action && row.actor == "admin:first") return true;
    }
    return false;
  }
  std::unique_ptr<Rooms> rooms_;
  std::vector<TrainWork> work_;
};

TEST_F(OrdersTest, ARoundIsClosedByOrderWithItsQuorumAndNeverBelow) {
  EXPECT_EQ(Send(0), UpdateState::kAccepted);
  const absl::Status early = machine().CloseNow("", "admin:first");
  EXPECT_EQ(ExitCodeOf(early), ExitCode::kRefused);
  EXPECT_NE(Message(early).find("1 updates, and is not closed with fewer than 2"), std::string::npos) << Message(early);
  EXPECT_EQ(Send(1), UpdateState::kAccepted);
  ASSERT_TRUE(machine().CloseNow("c is on holiday", "admin:first").ok());
  EXPECT_EQ(rooms_->Install("a", 0).round, 1);
  EXPECT_EQ(Update(2).reason, "late: an administrator closed the round");
  EXPECT_TRUE(Audited("round closed by order"));
  EXPECT_EQ(ExitCodeOf(machine().CloseNow("", "admin:first")), ExitCode::kRefused) << "no round is open";
}

TEST_F(OrdersTest, AnAbortedRoundBeginsFromNothing) {
  EXPECT_EQ(Send(0), UpdateState::kAccepted);
  EXPECT_EQ(Send(1), UpdateState::kAccepted);
  ASSERT_TRUE(machine().Abort("wrong learning rate", "admin:first").ok());
  EXPECT_TRUE(Audited("round aborted"));
  for (size_t site = 0; site < 3; ++site) {
    EXPECT_EQ(Update(site).state, UpdateState::kExpected);
    EXPECT_EQ(rooms_->Train(std::string(1, static_cast<char>('a' + site)), 0).update_id, work_[site].update_id);
  }
  EXPECT_EQ(ExitCodeOf(machine().CloseNow("", "admin:first")), ExitCode::kRefused);
  for (size_t site = 0; site < 3; ++site) EXPECT_EQ(Send(site), UpdateState::kAccepted);
  EXPECT_EQ(rooms_->Install("a", 0).round, 1);
}

TEST_F(OrdersTest, ASkippedSiteIsNotWaitedFor) {
  EXPECT_EQ(Send(0), UpdateState::kAccepted);
  EXPECT_EQ(Send(1), UpdateState::kAccepted);
  EXPECT_EQ(ExitCodeOf(machine().Skip("nobody", "", "admin:first")), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(machine().Skip("a", "", "admin:first")), ExitCode::kRefused) << "its update is in";
  ASSERT_TRUE(machine().Skip("c", "its line is down", "admin:first").ok());
  EXPECT_EQ(rooms_->Install("a", 0).round, 1);
  EXPECT_EQ(Update(2).state, UpdateState::kRefused);
  EXPECT_TRUE(Audited("site skipped"));
}

TEST_F(OrdersTest, APausedFederationEndsItsRoundAndOpensNoOther) {
  EXPECT_EQ(ExitCodeOf(machine().SetPaused(false, "", "admin:first")), ExitCode::kRefused);
  ASSERT_TRUE(machine().SetPaused(true, "audit week", "admin:first").ok());
  for (size_t site = 0; site < 3; ++site) EXPECT_EQ(Send(site), UpdateState::kAccepted);
  for (const char* site : {"a", "b", "c"}) EXPECT_EQ(rooms_->Install(site, 0).round, 1);
  EXPECT_EQ(machine().Summary().state, "paused");
  rooms_->Restart();
  for (const char* site : {"a", "b", "c"}) {
    EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms_->Ask(site, 1, 50))) << site;
  }
  EXPECT_EQ(machine().Summary().state, "paused");
  ASSERT_TRUE(machine().SetPaused(false, "", "admin:first").ok());
  EXPECT_EQ(rooms_->Train("a", 1).round, 2);
  EXPECT_TRUE(Audited("paused") && Audited("resumed"));
}

TEST_F(OrdersTest, TheSecondNodeWithAnIdentityIsRefusedAndTheFirstGoesOn) {
  SitePosition first, second;
  first.training_records = second.training_records = 10;
  first.installed_round = second.installed_round = 0;
  first.instance = "first";
  second.instance = "second";
  const std::chrono::milliseconds now(0);
  EXPECT_TRUE(rooms_->Answer("a", first, now).ok());
  EXPECT_TRUE(rooms_->Answer("a", second, now).ok());
  EXPECT_TRUE(rooms_->Answer("a", first, now).ok());
  EXPECT_EQ(ExitCodeOf(rooms_->Answer("a", second, now).status()), ExitCode::kRefused);
  EXPECT_TRUE(rooms_->Answer("a", first, now).ok());
  clock_->Advance(std::chrono::seconds(rooms_->options().silence_seconds));
  EXPECT_TRUE(rooms_->Answer("a", second, now).ok());
  int said = 0;
  for (const AuditRow& row : Get(rooms_->store().Audit(0, 1000))) said += row.action == "two nodes with one identity";
  EXPECT_EQ(said, 1);
}

}  // namespace
}  // namespace fedglm
