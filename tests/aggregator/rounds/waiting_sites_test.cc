#include "aggregator/rounds/waiting_sites.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedglm {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class WaitingSitesTest : public testing::Test {
 protected:
  void Add(const std::string& site, uint64_t call, int until) {
    const auto told = [this, site, call](const absl::StatusOr<Work>& work) {
      const std::string what = !work.ok() ? "error" : std::holds_alternative<WaitWork>(*work) ? "wait" : "work";
      told_.push_back(site + std::to_string(call) + " " + what);
    };
    waiting_.Add(site, {{}, At(until), call, told}, answers_);
  }
  static WaitingSites::Time At(int second) { return WaitingSites::Time(seconds(second)); }
  std::vector<std::string> Told() {
    answers_.Tell();
    return std::exchange(told_, {});
  }
  WaitingSites waiting_;
  WaitingSites::Answers answers_;
  std::vector<std::string> told_;
};

TEST_F(WaitingSitesTest, ANewerCallOfASiteEndsTheOlder) {
  Add("a", 1, 60);
  Add("b", 2, 60);
  EXPECT_THAT(Told(), IsEmpty());
  Add("a", 3, 60);
  EXPECT_THAT(Told(), ElementsAre("a1 wait"));
  waiting_.End("a", 1, answers_);  // it is gone already
  EXPECT_THAT(Told(), IsEmpty());
  waiting_.EndAllOf("a", answers_);
  EXPECT_THAT(Told(), ElementsAre("a3 wait"));
}

TEST_F(WaitingSitesTest, WhoHasWorkIsToldAndTheOthersWaitOn) {
  for (const char* site : {"a", "b", "c"}) Add(site, 1, site[0] == 'c' ? 10 : 60);
  const auto work_for = [](const std::string& site, const SitePosition&) {
    return site == "b" ? absl::StatusOr<Work>(FinishedWork{}) : Work(WaitWork{});
  };
  waiting_.Answer(At(9), work_for, answers_);
  EXPECT_THAT(Told(), ElementsAre("b1 work"));
  waiting_.Answer(At(10), work_for, answers_);
  EXPECT_THAT(Told(), ElementsAre("c1 wait"));
  waiting_.Expire(At(59), answers_);
  EXPECT_THAT(Told(), IsEmpty());
  waiting_.EndAll(answers_);
  EXPECT_THAT(Told(), ElementsAre("a1 wait"));
}

TEST_F(WaitingSitesTest, AnErrorIsTold) {
  Add("a", 1, 60);
  waiting_.Answer(
      At(0), [](const std::string&, const SitePosition&) { return FailedError("the disk"); }, answers_);
  EXPECT_THAT(Told(), ElementsAre("a1 error"));
}

}  // namespace
}  // namespace fedglm
