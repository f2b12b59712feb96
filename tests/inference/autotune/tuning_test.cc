#include "inference/autotune/tuning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace fedglm {
namespace {

constexpr double kSeconds = 0.5;

// A machine whose passes take what a test says; each call is counted.
class FakeMachine {
 public:
  explicit FakeMachine(std::function<double(int threads, int64_t rows)> seconds) : seconds_(std::move(seconds)) {}

  MeasurePass Pass() {
    return [this](int threads, int64_t rows) {
      ++calls[{threads, rows}];
      const double pass = seconds_(threads, rows);
      spent += pass;
      return pass;
    };
  }

  std::map<std::pair<int, int64_t>, int> calls;
  double spent = 0;

 private:
  std::function<double(int, int64_t)> seconds_;
};

TEST(TuningCandidates, AllCountsOfAFewCoresAndHyperThreadsWhereThereAreSome) {
  EXPECT_EQ(CandidatesFor(1, 1).threads, (std::vector<int>{1}));
  EXPECT_EQ(CandidatesFor(4, 4).threads, (std::vector<int>{1, 2, 3, 4}));
  EXPECT_EQ(CandidatesFor(4, 8).threads, (std::vector<int>{1, 2, 3, 4, 8}));
  const TuningCandidates many = CandidatesFor(96, 192);
  EXPECT_LE(many.threads.size(), 30u);
  EXPECT_TRUE(std::is_sorted(many.threads.begin(), many.threads.end()));
  EXPECT_EQ(many.usual, (Tuning{96, 96, 256}));
  for (const int threads : {96, 192}) EXPECT_EQ(std::count(many.threads.begin(), many.threads.end(), threads), 1);
}

TEST(ChooseTuning, EachPhaseGetsItsOwnFastest) {
  // Bandwidth is used up by two threads and a third gets in the way; arithmetic gains from hyper-threads; a shorter
  // chunk stays in the cache.
  FakeMachine machine([](int threads, int64_t rows) {
    if (rows == 1) return 0.004 / std::min(threads, 2) * (threads > 2 ? 1.2 : 1);
    return 1e-4 * static_cast<double>(rows) / threads * (rows > 64 ? 1.1 : 1);
  });
  const TuningChoice choice = ChooseTuning(CandidatesFor(4, 8), machine.Pass(), kSeconds);
  EXPECT_TRUE(choice.steady);
  EXPECT_EQ(choice.tuning, (Tuning{2, 8, 64}));
}

TEST(ChooseTuning, WhatIsNotClearlyFasterIsNotChosen) {
  for (const auto& [gain, wins] : {std::pair{0.04, false}, std::pair{0.06, true}}) {
    FakeMachine machine([gain = gain](int threads, int64_t rows) {
      const double usual = rows == 1 ? 0.002 : 1e-5 * static_cast<double>(rows);
      return threads == 1 ? usual * (1 - gain) : usual;
    });
    const TuningChoice choice = ChooseTuning(CandidatesFor(2, 2), machine.Pass(), kSeconds);
    EXPECT_TRUE(choice.steady);
    EXPECT_EQ(choice.tuning, wins ? (Tuning{1, 1, 256}) : (Tuning{2, 2, 256})) << gain;
  }
}

TEST(ChooseTuning, PassesThatWereHeldUpDoNotCount) {
  // Every fourth pass of two threads takes ten times as long.
  int call = 0;
  FakeMachine machine([&call](int threads, int64_t rows) {
    const double pass = (rows == 1 ? 0.004 : 1e-5 * static_cast<double>(rows)) / threads;
    return threads == 2 && ++call % 4 == 0 ? 10 * pass : pass;
  });
  const TuningChoice choice = ChooseTuning(CandidatesFor(2, 2), machine.Pass(), 5);
  EXPECT_TRUE(choice.steady);
  EXPECT_EQ(choice.tuning, (Tuning{2, 2, 256}));
}

TEST(ChooseTuning, OnABusyMachineTheUsualIsTakenAndNotTrusted) {
  // One thread looks faster only because two seldom have both cores.
  int call = 0;
  FakeMachine machine([&call](int threads, int64_t rows) {
    const double pass = rows == 1 ? 0.002 : 1e-5 * static_cast<double>(rows);
    return threads == 1 ? pass : pass * (1.2 + ++call % 5);
  });
  const TuningChoice choice = ChooseTuning(CandidatesFor(2, 2), machine.Pass(), kSeconds);
  EXPECT_FALSE(choice.steady);
  EXPECT_EQ(choice.tuning, (Tuning{2, 2, 256}));
}

TEST(ChooseTuning, TakesTheTimeItIsGivenAlsoOfASlowMachine) {
  const auto with_pass = [](double seconds) {
    return [seconds](int threads, int64_t rows) { return seconds / threads * (rows == 1 ? 1 : 2); };
  };
  FakeMachine quick(with_pass(1e-6)), usual(with_pass(0.005)), slow(with_pass(3));
  EXPECT_TRUE(ChooseTuning(CandidatesFor(2, 2), quick.Pass(), kSeconds).steady);
  EXPECT_LE((quick.calls[{1, 1}]), 30);  // the clock's resolution, not the time, is the end of it
  EXPECT_TRUE(ChooseTuning(CandidatesFor(2, 2), usual.Pass(), kSeconds).steady);
  EXPECT_LE(usual.spent, 2 * kSeconds);
  const TuningChoice choice = ChooseTuning(CandidatesFor(2, 2), slow.Pass(), kSeconds);
  EXPECT_FALSE(choice.steady);
  EXPECT_EQ(choice.tuning, (Tuning{2, 2, 256}));
  EXPECT_EQ(slow.spent, 3);  // one pass
}

}  // namespace
}  // namespace fedglm
