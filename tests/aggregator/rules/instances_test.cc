#include "aggregator/rules/instances.h"

#include <gtest/gtest.h>

namespace fedglm {
namespace {

using Verdict = Instances::Verdict;
using std::chrono::seconds;

class InstancesTest : public testing::Test {
 protected:
  Verdict Ask(const std::string& instance, int second) {
    return instances_.Ask("north", instance, start_ + seconds(second), seconds(600));
  }
  Instances instances_;
  const Instances::Time start_{std::chrono::hours(1)};
};

TEST_F(InstancesTest, ANodeThatIsStartedAgainIsFine) {
  for (int start = 0; start < 20; ++start) {
    const std::string name = "start " + std::to_string(start);
    EXPECT_EQ(Ask(name, start), Verdict::kFine);
    EXPECT_EQ(Ask(name, start), Verdict::kFine);
  }
}

TEST_F(InstancesTest, OfTwoThatTakeTurnsTheSecondIsRefusedFromThenOn) {
  EXPECT_EQ(Ask("first", 0), Verdict::kFine);
  EXPECT_EQ(Ask("second", 10), Verdict::kFine);  // it may be the first one, started again
  EXPECT_EQ(Ask("first", 20), Verdict::kOtherRefused);
  for (int turn = 3; turn < 9; ++turn) {
    EXPECT_EQ(Ask("second", 10 * turn), Verdict::kRefused);
    EXPECT_EQ(Ask("first", 10 * turn), Verdict::kFine);
  }
}

TEST_F(InstancesTest, TheFirstOneMayStillBeStartedAgain) {
  Ask("first", 0);
  Ask("second", 10);
  Ask("first", 20);
  EXPECT_EQ(Ask("first, again", 30), Verdict::kFine);
  EXPECT_EQ(Ask("second", 40), Verdict::kRefused);
  EXPECT_EQ(Ask("first, again", 50), Verdict::kFine);
}

TEST_F(InstancesTest, WhoIsRefusedTakesOverWhenTheOtherIsGone) {
  Ask("first", 0);
  Ask("second", 10);
  Ask("first", 20);
  EXPECT_EQ(Ask("second", 619), Verdict::kRefused);
  EXPECT_EQ(Ask("second", 620), Verdict::kFine);
  EXPECT_EQ(Ask("second", 630), Verdict::kFine);
  EXPECT_EQ(Ask("first", 640), Verdict::kOtherRefused);  // and was not gone
  EXPECT_EQ(Ask("second", 650), Verdict::kRefused);
}

TEST_F(InstancesTest, WhoTrainsForHoursIsStillThere) {
  Ask("first", 0);
  Ask("second", 10);
  Ask("first", 20);
  for (int second = 60; second < 7200; second += 60) {
    instances_.Heard("north", start_ + seconds(second));
    EXPECT_EQ(Ask("second", second), Verdict::kRefused);
  }
}

TEST_F(InstancesTest, ItIsSaidOnceInTenMinutesHoweverManyNamesThereAre) {
  int said = 0;
  for (int second = 0; second < 1200; ++second) {
    said += Ask(second % 2 == 0 ? "first" : "other " + std::to_string(second), second) == Verdict::kOtherRefused;
  }
  EXPECT_EQ(said, 2);
}

TEST_F(InstancesTest, AnOlderNodeSaysNothingAndIsFine) {
  Ask("first", 0);
  EXPECT_EQ(Ask("", 1), Verdict::kFine);
  EXPECT_EQ(Ask("first", 2), Verdict::kFine);
}

}  // namespace
}  // namespace fedglm
