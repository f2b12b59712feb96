// What a node does for its own membership, and when.
#include "client/rules/renewal.h"

#include <gtest/gtest.h>

namespace fedglm {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr hours kDay(24);
const WallTime kBegin = std::chrono::system_clock::from_time_t(1800000000);
const Validity kYear = {kBegin, kBegin + 365 * kDay}, kWeek = {kBegin, kBegin + 7 * kDay};

TEST(Renewal, IsDueAtTwoThirdsOfTheLife) {
  EXPECT_EQ(RenewalDue({kBegin, kBegin + 3 * kDay}), kBegin + 2 * kDay);
  const WallTime due = RenewalDue(kYear);
  EXPECT_FALSE(RenewsNow(kYear, kBegin, {}, 0));
  EXPECT_FALSE(RenewsNow(kYear, due - seconds(1), {}, 0));
  EXPECT_TRUE(RenewsNow(kYear, due, {}, 0));
  EXPECT_TRUE(RenewsNow(kYear, kYear.not_after - seconds(1), {}, 0));
}

TEST(Renewal, IsNotAskedForWithACertificateThatTheAggregatorWouldNotTake) {
  EXPECT_FALSE(RenewsNow(kYear, kYear.not_after, {}, 0));
  EXPECT_FALSE(RenewsNow(kYear, kYear.not_after + 100 * kDay, {}, 0));
  EXPECT_FALSE(RenewsNow(kYear, kBegin - seconds(1), {}, 0));
  const Validity turned_round = {kBegin + kDay, kBegin};
  for (const WallTime now : {kBegin - kDay, kBegin, kBegin + kDay, kBegin + 2 * kDay}) {
    EXPECT_FALSE(RenewsNow(turned_round, now, {}, 0)) << "a certificate of no life at all";
  }
}

TEST(Renewal, IsTriedAgainAfterAnHourAndALittleMore) {
  const WallTime late = kBegin + 300 * kDay;
  EXPECT_FALSE(RenewsNow(kYear, late, seconds(0), 0));
  EXPECT_FALSE(RenewsNow(kYear, late, minutes(59), 0));
  EXPECT_TRUE(RenewsNow(kYear, late, minutes(60), 0));
  EXPECT_FALSE(RenewsNow(kYear, late, minutes(62), 0.5));
  EXPECT_TRUE(RenewsNow(kYear, late, minutes(63), 0.5));
  EXPECT_TRUE(RenewsNow(kYear, late, minutes(66), 0.999));
  EXPECT_FALSE(RenewsNow(kYear, kBegin, minutes(66), 0)) << "and not because an hour has passed";
}

TEST(Expiry, IsSaidOnceADayInTheLastThirtyDays) {
  const WallTime end = kYear.not_after;
  EXPECT_FALSE(WarnsOfExpiry(kYear, end - 31 * kDay, {}));
  EXPECT_TRUE(WarnsOfExpiry(kYear, end - 30 * kDay, {}));
  EXPECT_FALSE(WarnsOfExpiry(kYear, end - 29 * kDay, hours(23)));
  EXPECT_TRUE(WarnsOfExpiry(kYear, end - 29 * kDay, hours(24)));
  EXPECT_TRUE(WarnsOfExpiry(kYear, end - seconds(1), {}));
  EXPECT_FALSE(WarnsOfExpiry(kYear, end, {})) << "then it is an error, which is said elsewhere";
}

TEST(Expiry, OfAShortLifeIsSaidWhenItShouldHaveBeenRenewed) {
  EXPECT_FALSE(WarnsOfExpiry(kWeek, kBegin, {}));
  EXPECT_FALSE(WarnsOfExpiry(kWeek, kBegin + 4 * kDay, {}));
  EXPECT_TRUE(WarnsOfExpiry(kWeek, kBegin + 5 * kDay, {}));
}

TEST(NewToken, IsOneThatTheSiteDidNotEnrolWith) {
  EXPECT_FALSE(EnrolsAnew({"a", "a"}));
  EXPECT_FALSE(EnrolsAnew({"a", "a", true, true})) << "a used token gives no other certificate";
  EXPECT_TRUE(EnrolsAnew({"a", "b"}));
  EXPECT_FALSE(EnrolsAnew({"a", "", true, true})) << "there is none";
}

// Which token it was is not known: the one that lies there may be it.
TEST(NewToken, BesideAnOldMembershipCountsOnlyWhereItCannotBeTheSame) {
  EXPECT_FALSE(EnrolsAnew({"", "b"}));
  EXPECT_TRUE(EnrolsAnew({"", "b", true, false}));
  EXPECT_TRUE(EnrolsAnew({"", "b", false, true}));
  EXPECT_FALSE(EnrolsAnew({"", "", true, true}));
}

}  // namespace
}  // namespace fedglm
