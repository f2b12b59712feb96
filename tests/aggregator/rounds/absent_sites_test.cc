// Sites of which nothing is heard, and clocks that somebody sets: neither holds a round up.
#include <gtest/gtest.h>

#include "aggregator/rounds/round_machine.h"
#include "tests/aggregator/rounds/open_round.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr auto kLongEnough = std::chrono::milliseconds(800);  // for the machine to look at the time
const std::vector<std::string> kSites = {"a", "b", "c"};

class AbsentSites : public RoundMachineTest {
 protected:
  void Begin() {
    rooms_ = Make([](AggregatorOptions& o) {
      o.rounds = 9;
      o.min_sites = 3;
      o.min_updates = 2;
      o.round_timeout_seconds = 86400;
    });
    work_ = BeginRound(*rooms_, kSites);
  }
  void Send(const std::string& site, const TrainWork& work) {
    const Adapter global = rooms_->Published(work.adapter_sha256);
    EXPECT_EQ(rooms_->Send(site, work, RandomUpdate(global, UpdateForm::kChangeOfB, 1), 5).state,
              UpdateState::kAccepted);
  }
  void AskAsOfVersion(const std::string& site, int64_t round, const std::string& version) {
    SitePosition position;
    position.installed_round = round;
    position.training_records = 10;
    position.version = version;
    rooms_->AskAs(site, position);
  }
  // The next one may be open by then.
  bool Closes() {
    return WaitUntil([&] { return rooms_->machine().Summary().adapter_sha256 != work_[0].adapter_sha256; },
                     kLongEnough);
  }

  std::unique_ptr<Rooms> rooms_;
  std::vector<TrainWork> work_;
};

TEST_F(AbsentSites, ARoundWithItsQuorumDoesNotWaitForThem) {
  Begin();
  AskAsOfVersion("c", 0, "1.0");
  Send("a", work_[0]);
  Send("b", work_[1]);
  clock_->Advance(minutes(9));
  EXPECT_FALSE(Closes());
  EXPECT_TRUE(Get(rooms_->machine().Works("c", {.round = 1, .step = 3, .steps = 20}))) << "it trains";
  clock_->Advance(minutes(9));
  EXPECT_FALSE(Closes());
  rooms_->Write(work_[2].update_id, 0, "half of it");
  EXPECT_TRUE(rooms_->machine().CheckClaim("c", rooms_->ClaimOf(work_[2], "half of it, and more", 5)).ok());
  clock_->Advance(minutes(9));
  EXPECT_FALSE(Closes()) << "it sends";
  clock_->Advance(minutes(2));
  EXPECT_TRUE(Closes());
  EXPECT_EQ(rooms_->Install("a", 0).round, 1);
  EXPECT_FALSE(Get(rooms_->machine().Works("c", {.round = 1}))) << "nobody waits for it any more";
}

TEST_F(AbsentSites, BelowItsQuorumItWaits) {
  Begin();
  for (const char* site : {"b", "c"}) AskAsOfVersion(site, 0, "1.0");
  Send("a", work_[0]);
  clock_->Advance(hours(2));
  EXPECT_FALSE(Closes());
  Send("b", work_[1]);
  EXPECT_TRUE(Closes()) << "and is closed as soon as it has it";
}

TEST_F(AbsentSites, AnOlderNodeSaysNothingWhileItTrains) {
  Begin();
  AskAsOfVersion("c", 0, "");
  Send("a", work_[0]);
  Send("b", work_[1]);
  clock_->Advance(hours(2));
  EXPECT_FALSE(Closes());
}

TEST_F(AbsentSites, AreSilentFromTheStartOfTheAggregatorIfTheyNeverAsked) {
  Begin();
  Send("a", work_[0]);
  Send("b", work_[1]);
  rooms_->Restart();
  clock_->Advance(minutes(59));
  EXPECT_FALSE(Closes());
  clock_->Advance(minutes(2));
  EXPECT_TRUE(Closes());
}

TEST_F(AbsentSites, AClockThatIsSetBackHoldsNoRoundUp) {
  Begin();
  for (size_t i = 0; i < kSites.size(); ++i) Send(kSites[i], work_[i]);
  rooms_->Install("a", 0);
  clock_->Set(-minutes(50));
  for (const std::string& site : kSites) rooms_->Ask(site, 1, 0);
  work_.clear();
  for (const std::string& site : kSites) work_.push_back(rooms_->Train(site, 1));
  EXPECT_EQ(work_[0].round, 2);
  Send("a", work_[0]);
  Send("b", work_[1]);
  clock_->Set(hours(48));
  EXPECT_FALSE(Closes()) << "the deadline has not passed, whatever the clock on the wall shows";
  clock_->Advance(hours(25));
  EXPECT_TRUE(Closes());
}

}  // namespace
}  // namespace fedglm
