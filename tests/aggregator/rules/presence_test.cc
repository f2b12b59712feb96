// What the sites say of themselves, and what of it is news.
#include "aggregator/rules/presence.h"

#include <gtest/gtest.h>

namespace fedglm {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

const std::chrono::steady_clock::time_point kStart{std::chrono::hours(1000)};

std::string NewsOf(Presence& presence, const std::string& setback, std::chrono::steady_clock::duration after) {
  SitePosition position;
  position.setback = setback;
  const auto news = presence.Asked("a", position, kStart + after);
  return news ? news->action + ": " + news->detail : "";
}

TEST(Presence, ASetbackIsNewsOnceAndSoIsItsEnd) {
  Presence presence;
  EXPECT_EQ(NewsOf(presence, "", seconds(0)), "");
  EXPECT_EQ(NewsOf(presence, "records", seconds(1)), "site is held back: records");
  EXPECT_EQ(NewsOf(presence, "records", minutes(30)), "");
  EXPECT_EQ(NewsOf(presence, "", minutes(31)), "site is well again: records");
  EXPECT_EQ(NewsOf(presence, "", minutes(60)), "");
}

TEST(Presence, ASiteThatChangesItsMindFillsNoAuditLog) {
  Presence presence;
  int news = 0;
  for (int second = 0; second < 3600; ++second) {
    news += NewsOf(presence,
                   second % 2 == 0   ? "records"
                   : second % 3 == 0 ? "machine"
                                     : "",
                   seconds(second))
                    .empty()
                ? 0
                : 1;
  }
  EXPECT_LE(news, 6);
  EXPECT_GE(news, 1);
  EXPECT_EQ(NewsOf(presence, "held-out", minutes(90)), "site is held back: held-out")
      << "what is still so is told then";
}

TEST(Presence, KnowsWhoDeclinesWhat) {
  Presence presence;
  SitePosition position;
  position.declined_sha256 = "bad";
  presence.Asked("a", position, kStart);
  EXPECT_TRUE(presence.AnyDeclines("bad"));
  EXPECT_FALSE(presence.AnyDeclines("good"));
  ASSERT_NE(presence.Find("a"), nullptr);
  EXPECT_EQ(presence.Find("a")->asked.value(), kStart);
  EXPECT_EQ(presence.Find("b"), nullptr);
}

TEST(Presence, TellsWhoGetsOnFromWhoIsSilent) {
  Presence presence;
  SitePosition position;
  position.version = "1.0";
  const auto silent_after = [&](std::chrono::steady_clock::duration after) {
    return presence.IsSilent("a", kStart, kStart + after, minutes(10));
  };
  EXPECT_FALSE(silent_after(minutes(59)));
  EXPECT_TRUE(silent_after(minutes(60))) << "it was never heard of";
  presence.Asked("a", position, kStart);
  EXPECT_FALSE(silent_after(minutes(9)));
  EXPECT_TRUE(silent_after(minutes(10)));
  // Beats of a site that gets nowhere count for an hour.
  for (int minute = 1; minute <= 70; ++minute) presence.Works("a", {1, 5, 20}, kStart + minutes(minute));
  EXPECT_FALSE(silent_after(minutes(60)));
  EXPECT_TRUE(silent_after(minutes(71)));
  presence.Works("a", {1, 6, 20}, kStart + minutes(71));
  EXPECT_FALSE(silent_after(minutes(80)));
  presence.Heard("a", kStart + minutes(135), false);
  EXPECT_TRUE(silent_after(minutes(136))) << "it calls, and does nothing";
  presence.Heard("a", kStart + minutes(137), true);
  EXPECT_FALSE(silent_after(minutes(138))) << "it sends";
}

TEST(Presence, ASiteThatIsHeldBackIsSilentThoughItCalls) {
  Presence presence;
  SitePosition position;
  position.version = "1.0";
  position.setback = "records";
  for (int minute = 0; minute <= 10; ++minute) presence.Asked("a", position, kStart + minutes(minute));
  EXPECT_FALSE(presence.IsSilent("a", kStart, kStart + minutes(9), minutes(10)));
  EXPECT_TRUE(presence.IsSilent("a", kStart, kStart + minutes(10), minutes(10)));
  position.setback = "";
  presence.Asked("a", position, kStart + minutes(11));
  EXPECT_FALSE(presence.IsSilent("a", kStart, kStart + minutes(12), minutes(10)));
}

TEST(Presence, ASiteThatTrainsFromWhatItDeclinesIsNotHeldBack) {
  Presence presence;
  SitePosition position;
  position.version = "1.0";
  position.setback = "adapter";
  position.declined_sha256 = "worse";
  position.trains_from_declined = true;
  for (int minute = 0; minute <= 30; ++minute) presence.Asked("a", position, kStart + minutes(minute));
  EXPECT_FALSE(presence.IsSilent("a", kStart, kStart + minutes(31), minutes(10)));
}

TEST(Presence, AnOlderNodeIsNeverSilent) {
  Presence presence;
  presence.Asked("a", {}, kStart);
  EXPECT_FALSE(presence.IsSilent("a", kStart, kStart + std::chrono::hours(20), minutes(10)));
}

}  // namespace
}  // namespace fedglm
