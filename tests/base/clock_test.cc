#include "base/clock.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace fedglm {
namespace {

using std::chrono::milliseconds;
using std::chrono::system_clock;

TEST(Clock, FormatsUtc) {
  EXPECT_EQ(FormatUtc(system_clock::time_point()), "1970-01-01T00:00:00Z");
  EXPECT_EQ(FormatUtc(system_clock::from_time_t(1709210096)), "2024-02-29T12:34:56Z");
  EXPECT_EQ(FormatUtc(system_clock::from_time_t(4102444800)), "2100-01-01T00:00:00Z");
}

TEST(Clock, CountsMillisecondsOfTheUnixEpoch) {
  EXPECT_EQ(UnixMilliseconds(system_clock::from_time_t(1709210096) + milliseconds(789)), 1709210096789);
}

TEST(Clock, TheSystemsGoesOn) {
  const auto before = system_clock::now();
  const auto now = Clock::System().Now();
  EXPECT_GE(now, before);
  EXPECT_LE(now, system_clock::now());
}

TEST(ManualClock, MovesOnlyWhenToldTo) {
  const auto start = system_clock::from_time_t(1000);
  ManualClock clock(start);
  EXPECT_EQ(clock.Now(), start);
  clock.Advance(milliseconds(1500));
  EXPECT_EQ(clock.Now(), start + milliseconds(1500));
}

TEST(ManualClock, MayBeMovedFromSeveralThreads) {
  const auto start = system_clock::from_time_t(1000);
  ManualClock clock(start);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) clock.Advance(milliseconds(1));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(clock.Now(), start + milliseconds(4000));
}

TEST(Stopwatch, Counts) {
  const Stopwatch stopwatch;
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_GE(stopwatch.Seconds(), 0.02);
}

}  // namespace
}  // namespace fedglm
