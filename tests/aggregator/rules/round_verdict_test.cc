#include "aggregator/rules/round_verdict.h"

#include <gtest/gtest.h>

namespace fedglm {
namespace {

constexpr int64_t kTimeout = 600'000, kQuorum = 3;

RoundVerdict After(int64_t milliseconds, int64_t accepted, int64_t expected, int64_t silent = 0,
                   int64_t timeout = kTimeout) {
  const std::chrono::steady_clock::time_point began{std::chrono::hours(7)};
  return Judge({expected, accepted, expected == silent, began, began + std::chrono::milliseconds(timeout),
                began + std::chrono::milliseconds(milliseconds)},
               kQuorum);
}

TEST(Judge, ClosesWhenEverybodyIsDecidedOrTheDeadlineIsOver) {
  EXPECT_EQ(After(0, 3, 0), RoundVerdict::kIsClosed);
  EXPECT_EQ(After(1, 5, 1), RoundVerdict::kGoesOn);
  EXPECT_EQ(After(kTimeout - 1, 3, 1), RoundVerdict::kGoesOn);
  EXPECT_EQ(After(kTimeout, 3, 1), RoundVerdict::kIsClosed);
}

TEST(Judge, NeverClosesBelowItsQuorum) {
  for (int64_t accepted = 0; accepted < kQuorum; ++accepted) {
    for (int64_t expected = 0; expected < 4; ++expected) {
      for (const int64_t after : {int64_t{0}, int64_t{60'000}, kTimeout - 1, kTimeout, 100 * kTimeout}) {
        EXPECT_NE(After(after, accepted, expected), RoundVerdict::kIsClosed);
      }
      EXPECT_EQ(After(kTimeout, accepted, expected), RoundVerdict::kBeginsAgain);
    }
  }
}

TEST(Judge, BeginsAgainBeforeItsDeadlineIfNobodyIsLeftToWaitFor) {
  EXPECT_EQ(After(59'999, 2, 0), RoundVerdict::kGoesOn) << "at most once a minute";
  EXPECT_EQ(After(60'000, 2, 0), RoundVerdict::kBeginsAgain);
  EXPECT_EQ(After(60'000, 2, 1), RoundVerdict::kGoesOn);
  // Also beyond the deadline, again and again.
  EXPECT_EQ(After(59'999, 0, 1, 0, 10), RoundVerdict::kGoesOn);
  EXPECT_EQ(After(60'000, 0, 1, 0, 10), RoundVerdict::kBeginsAgain);
}

TEST(Judge, DoesNotWaitForTheSilent) {
  EXPECT_EQ(After(1, 3, 2, 1), RoundVerdict::kGoesOn) << "the other one is there";
  EXPECT_EQ(After(1, 3, 2, 2), RoundVerdict::kIsClosed);
  EXPECT_EQ(After(1, 2, 2, 2), RoundVerdict::kGoesOn) << "below the quorum it is never closed";
  EXPECT_EQ(After(60'000, 2, 2, 2), RoundVerdict::kBeginsAgain) << "who has come since is in";
}

TEST(Judge, SaysWhy) {
  EXPECT_EQ(WhyAgain({2, 1, true}, 3), "1 of the 3 updates that it needs are in, and nothing is heard of the others");
  EXPECT_EQ(WhyAgain({2, 1}, 3), "1 of the 3 updates that it needs are in at its deadline");
  EXPECT_EQ(WhyAgain({0, 2, true}, 3), "2 of the 3 updates that it needs are in, and nobody else is asked");
}

TEST(DeadlineAfterOutage, IsLaterByTheOutage) {
  EXPECT_EQ(DeadlineAfterOutage(5000, 1000, 1000, 60'000), 5000);
  EXPECT_EQ(DeadlineAfterOutage(5000, 1000, 61'000, 60'000), 5000) << "nobody may have asked meanwhile";
  EXPECT_EQ(DeadlineAfterOutage(5000, 1000, 86'401'000, 60'000), 5000 + 86'400'000);
  EXPECT_EQ(DeadlineAfterOutage(5000, 9000, 1000, 60'000), 5000) << "a clock that was set back";
}

}  // namespace
}  // namespace fedglm
