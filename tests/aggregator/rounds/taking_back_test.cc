// Adapters that sites decline, and those that are taken back: by the federation itself, by its operator, and by a copy
// of the aggregator's state that was put back.
#include <gtest/gtest.h>

#include <algorithm>

#include "aggregator/rounds/round_machine.h"
#include "tests/aggregator/rounds/open_round.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

constexpr UpdateForm kForm = UpdateForm::kChangeOfB;
const std::vector<std::string> kSites = {"a", "b", "c"};

class TakingBack : public RoundMachineTest {
 protected:
  void SetUp() override {
    rooms_ = Make([](AggregatorOptions& o) {
      o.rounds = 9;
      o.min_sites = o.min_updates = 3;
    });
    for (const std::string& site : kSites) rooms_->Enrol(site);
  }
  static TensorMap Filled(float value) {
    TensorMap update = TensorsOf(SmallAdapter(), kForm);
    for (auto& [name, tensor] : update) std::fill(tensor.values.begin(), tensor.values.end(), value);
    return update;
  }
  // A round in which every value of B grows by `value`; its artifact.
  std::string RunRound(int64_t round, float value) {
    for (const std::string& site : kSites) rooms_->Ask(site, round - 1, 0);
    for (const std::string& site : kSites) rooms_->Send(site, rooms_->Train(site, round - 1), Filled(value), 5);
    return rooms_->Install("a", round - 1).adapter_sha256;
  }
  static SitePosition Runs(int64_t round, const std::string& sha256) {
    SitePosition position;
    position.installed_round = round;
    position.installed_sha256 = sha256;
    position.training_records = 10;
    return position;
  }
  static SitePosition Declines(int64_t installed, const std::string& sha256, const std::string& declined) {
    SitePosition position = Runs(installed, sha256);
    position.declined_sha256 = declined;
    position.trains_from_declined = true;
    position.setback = "adapter";
    return position;
  }
  float ValueOfB(const std::string& sha256) {
    return rooms_->Published(sha256).modules.begin()->second.b.values.front();
  }
  std::string Latest() { return rooms_->machine().Summary().adapter_sha256; }
  bool LatestBecomes(const std::function<bool(const std::string&)>& wanted) {
    return WaitUntil([&] { return wanted(Latest()); });
  }
  std::string AuditText() {
    std::string text;
    for (const AuditRow& row : Get(rooms_->store().Audit(0, 1000))) {
      text += row.actor + ": " + row.action + ": " + row.subject + ": " + row.detail + "\n";
    }
    return text;
  }

  std::unique_ptr<Rooms> rooms_;
};

TEST_F(TakingBack, WhatMostOfItsMakersDeclineIsReplacedByTheOneBeforeUnderANewNumber) {
  const std::string good = RunRound(1, 1), bad = RunRound(2, 100);
  EXPECT_EQ(ValueOfB(bad), 101);
  rooms_->AskAs("a", Declines(1, good, bad));
  rooms_->AskAs("b", Runs(2, bad));
  rooms_->AskAs("outsider", Declines(1, good, bad));  // has not made it
  EXPECT_FALSE(WaitUntil([&] { return Latest() != bad; }, std::chrono::milliseconds(800))) << "one of three";
  rooms_->AskAs("c", Declines(1, good, bad));
  ASSERT_TRUE(LatestBecomes([&](const std::string& latest) { return latest != bad; }));

  const Adapter replaced = rooms_->Published(Latest());
  EXPECT_EQ(replaced.modules, rooms_->Published(good).modules);
  EXPECT_EQ(replaced.provenance->round, 3) << "rounds only grow";
  EXPECT_TRUE(VerifySignature(authority_.signing_public_pem(), SignedBytes(replaced.config, *replaced.provenance),
                              Get(Base64UrlDecode(replaced.provenance->signature)))
                  .ok());
  const std::string audit = AuditText(),
                    said =
                        "aggregator: rolled back: round 3: the adapter of round 2: 2 of the 3 sites that made it "
                        "decline it: ";
  EXPECT_TRUE(audit.find(said + "a, c\n") != std::string::npos || audit.find(said + "c, a\n") != std::string::npos)
      << audit;
  // Everybody runs it, whatever they ran before, and the next round starts from it.
  for (const SitePosition& position : {Declines(1, good, bad), Runs(2, bad)}) {
    const Work work = rooms_->AskAs("a", position);
    ASSERT_TRUE(std::holds_alternative<InstallWork>(work));
    EXPECT_EQ(std::get<InstallWork>(work).round, 3);
  }
  EXPECT_EQ(ValueOfB(RunRound(4, 1)), 2);
}

// What the sites like less than what they had, and the operator wants all the same.
TEST_F(TakingBack, WhatWasRolledBackToIsNotTakenBack) {
  RunRound(1, 1);
  const std::string liked = RunRound(2, 1);
  for (const std::string& site : kSites) rooms_->AskAs(site, Runs(2, liked));
  rooms_->Send("a", rooms_->Train("a", 2), Filled(1), 5);  // accepted in the round that is ended
  ASSERT_TRUE(rooms_->machine().RollBack(1, "", "admin:x").ok());
  const std::string wanted = Latest();
  for (const std::string& site : kSites) rooms_->AskAs(site, Declines(2, liked, wanted));
  EXPECT_FALSE(WaitUntil([&] { return Latest() != wanted; }, std::chrono::milliseconds(800)));
}

// With no round open: the last one is done, or too few sites are there for the next.
TEST_F(TakingBack, AlsoWhenNoRoundIsOpen) {
  rooms_ = Make([](AggregatorOptions& o) { o.rounds = 2, o.min_sites = o.min_updates = 3; }, "short");
  for (const std::string& site : kSites) rooms_->Enrol(site);
  const std::string good = RunRound(1, 1), bad = RunRound(2, 100);
  EXPECT_EQ(rooms_->machine().Summary().state, "finished");
  for (const std::string& site : kSites) rooms_->AskAs(site, Declines(1, good, bad));
  ASSERT_TRUE(LatestBecomes([&](const std::string& latest) { return latest != bad; })) << AuditText();
  EXPECT_EQ(ValueOfB(Latest()), 1);
  ASSERT_TRUE(rooms_->machine().RollBack(0, "", "admin:x").ok());
  EXPECT_EQ(ValueOfB(Latest()), 0);
  EXPECT_EQ(rooms_->Install("a", 3).round, 4);
}

// The adapter that it is to be replaced by is lost: the rounds go on.
TEST_F(TakingBack, WhatCannotBeTakenBackStopsNothing) {
  const std::string good = RunRound(1, 1), bad = RunRound(2, 1);
  std::filesystem::remove(rooms_->options().state_dir / "artifacts" / good);
  for (const std::string& site : kSites) rooms_->AskAs(site, Declines(1, good, bad));
  EXPECT_EQ(ValueOfB(RunRound(3, 1)), 3);
}

TEST_F(TakingBack, OnlyThoseWhoMadeItAndAreStillMembersVote) {
  const std::string good = RunRound(1, 1), bad = RunRound(2, 100);
  ASSERT_TRUE(rooms_->machine().Revoke("a", "", "admin:x").ok());
  for (const char* site : {"a", "b"}) rooms_->AskAs(site, Declines(1, good, bad));
  EXPECT_FALSE(WaitUntil([&] { return Latest() != bad; }, std::chrono::milliseconds(800)));
}

TEST_F(TakingBack, WhatOneDeclinesStaysAndItTrainsOn) {
  const std::string good = RunRound(1, 1), worse = RunRound(2, 1);
  const SitePosition declines = Declines(1, good, worse);
  EXPECT_FALSE(std::holds_alternative<InstallWork>(rooms_->AskAs("a", declines))) << "it is not offered again";
  rooms_->Ask("b", 2, 0);
  rooms_->Ask("c", 2, 0);
  ASSERT_TRUE(WaitUntil([&] { return rooms_->machine().Summary().state == "training"; }));
  ASSERT_TRUE(std::holds_alternative<TrainWork>(rooms_->AskAs("a", declines)));
  rooms_->Send("a", std::get<TrainWork>(rooms_->AskAs("a", declines)), Filled(1), 5);
  for (const char* site : {"b", "c"}) rooms_->Send(site, rooms_->Train(site, 2), Filled(1), 5);
  EXPECT_EQ(ValueOfB(rooms_->Install("a", 2).adapter_sha256), 3);
  EXPECT_EQ(AuditText().find("rolled back"), std::string::npos);
}

TEST_F(TakingBack, TheOperatorsEndsTheOpenRound) {
  const std::string first = RunRound(1, 1);
  RunRound(2, 1);
  for (const std::string& site : kSites) rooms_->Ask(site, 2, 0);
  const TrainWork open = rooms_->Train("a", 2);
  EXPECT_EQ(open.round, 3);
  EXPECT_EQ(ExitCodeOf(rooms_->machine().RollBack(7, "", "admin:x")), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(rooms_->machine().RollBack(3, "", "admin:x")), ExitCode::kRefused) << "it is open";
  EXPECT_EQ(ExitCodeOf(rooms_->machine().RollBack(-1, "", "admin:x")), ExitCode::kRefused);
  ASSERT_TRUE(rooms_->machine().RollBack(1, "the chat answers nonsense", "admin:x").ok());
  EXPECT_NE(AuditText().find("admin:x: rolled back: round 3: to the adapter of round 1: the chat answers nonsense"),
            std::string::npos)
      << AuditText();
  const UpdateRow late = Get(rooms_->machine().DecideUpdate("a", rooms_->ClaimOf(open, "bytes", 5)));
  EXPECT_EQ(late.state, UpdateState::kRefused);
  EXPECT_EQ(late.reason, "the round was rolled back");
  EXPECT_EQ(rooms_->Published(Latest()).modules, rooms_->Published(first).modules);

  rooms_->Restart();
  EXPECT_EQ(rooms_->Install("a", 2).round, 3) << "also after a restart";
  EXPECT_EQ(ValueOfB(RunRound(4, 1)), 2);
  ASSERT_TRUE(rooms_->machine().RollBack(0, "", "admin:x").ok());
  EXPECT_EQ(ValueOfB(Latest()), 0) << "what round 1 started from";
}

// A copy from before round 2 is put back: the sites are ahead, and follow.
TEST_F(TakingBack, SitesFollowAnAggregatorThatWasPutBack) {
  const std::string first = RunRound(1, 1);
  rooms_->Close();
  const std::filesystem::path state = rooms_->options().state_dir, copy = folder_.path() / "copy";
  std::filesystem::copy(state, copy, std::filesystem::copy_options::recursive);
  rooms_->Open();
  const std::string second = RunRound(2, 1), third = RunRound(3, 1);
  rooms_ = nullptr;
  std::filesystem::remove_all(state);
  std::filesystem::rename(copy, state);
  rooms_ = Make([](AggregatorOptions& o) { o.rounds = 9, o.min_sites = o.min_updates = 3; });
  const Work work = rooms_->AskAs("a", Runs(3, third));
  ASSERT_TRUE(std::holds_alternative<InstallWork>(work));
  EXPECT_EQ(std::get<InstallWork>(work).round, 1);
  EXPECT_EQ(std::get<InstallWork>(work).adapter_sha256, first);
  // The same records from the same adapter give the same round again.
  EXPECT_EQ(RunRound(2, 1), second);
}

TEST_F(TakingBack, WhatHoldsASiteBackIsAuditedOnce) {
  SitePosition position = Runs(-1, "");
  for (int i = 0; i < 6; ++i) {
    position.setback = i % 3 == 0 ? "" : "records";
    rooms_->AskAs("a", position);
  }
  EXPECT_EQ(AuditText(), "site:a: site is held back: a: records\n");
  EXPECT_EQ(rooms_->machine().Present().at("a").position.setback, "records");
}

}  // namespace
}  // namespace fedglm
