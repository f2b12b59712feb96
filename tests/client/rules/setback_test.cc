// When a node tries again, and what it says meanwhile.
#include "client/rules/setback.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedglm {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;

const Persistence::Time kStart{hours(1000)};

TEST(Setback, EveryErrorIsOneAndEveryOneHasItsRule) {
  const std::pair<absl::Status, Setback> expected[] = {
      {UnreachableError("x"), Setback::kAway},     {RefusedError("x"), Setback::kNotWanted},
      {BadFileError("x"), Setback::kRecords},      {NotFoundError("x"), Setback::kRecords},
      {FailedError("x"), Setback::kMachine},       {CancelledError("x"), Setback::kMachine},
      {UsageError("x"), Setback::kMachine},        {ConfigurationError("x"), Setback::kMachine},
      {absl::UnknownError("x"), Setback::kMachine}};
  for (const auto& [error, setback] : expected) {
    EXPECT_EQ(SetbackOf(error), setback) << error;
    EXPECT_EQ(RuleOf(setback).setback, setback);
    EXPECT_LE(RuleOf(setback).shortest, RuleOf(setback).longest);
  }
}

// Sites that all lost the same aggregator come back within 700 ms of it, spread over them, however long it was away.
TEST(Setback, AnAggregatorThatIsAwayIsAskedSoonAndNotByAllAtOnce) {
  Persistence persistence;
  for (int i = 0; i < 1000; ++i) {
    const double draw = (i % 10) / 10.0;
    const milliseconds pause = persistence.Failed(UnreachableError("away"), kStart + minutes(i), draw).pause;
    EXPECT_NEAR(static_cast<double>(pause.count()), 700 * draw, 1);
  }
}

TEST(Setback, WhatDoesNotMendItselfIsTriedLessAndLessOften) {
  for (const auto& [error, longest] : {std::pair<absl::Status, milliseconds>{RefusedError("revoked"), seconds(60)},
                                       {BadFileError("records.jsonl:3"), minutes(5)},
                                       {FailedError("disk full"), seconds(60)}}) {
    Persistence persistence;
    milliseconds expected = seconds(1);
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(persistence.Failed(error, kStart, 0.5).pause, expected) << Message(error) << i;
      expected = std::min(expected * 2, longest);
    }
    EXPECT_FALSE(persistence.Worked(kStart).empty());
    EXPECT_EQ(persistence.Failed(error, kStart, 0.5).pause, seconds(1)) << "from the beginning again";
  }
}

TEST(Setback, EachKindHasItsOwnPausesAndIsNewOnce) {
  Persistence persistence;
  for (int i = 0; i < 8; ++i) persistence.Failed(RefusedError("revoked"), kStart, 0);
  EXPECT_EQ(persistence.Failed(FailedError("disk full"), kStart, 0).pause, seconds(1));
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(persistence.Failed(RefusedError("revoked"), kStart, 0).pause, seconds(60));
    const Persistence::Answer again = persistence.Failed(FailedError("disk full"), kStart, 0);
    EXPECT_GE(again.pause, seconds(2));
    EXPECT_EQ(again.say, "") << "in turn with another one it is not new";
  }
}

TEST(Setback, SaysTheFirstAtOnceAnotherAfterAMinuteAndTheSameAfterAnHour) {
  Persistence persistence;
  const auto say = [&](const char* what, Persistence::Time::duration at) {
    return persistence.Failed(UnreachableError(what), kStart + at, 0).say;
  };
  EXPECT_EQ(say("a: no route", seconds(0)), "a: no route; trying again");
  EXPECT_EQ(say("a: no route", minutes(59)), "");
  EXPECT_EQ(say("a: no route", minutes(60)), "a: no route; still trying, for 60 min");
  EXPECT_EQ(say("a: refused", minutes(60) + seconds(59)), "");
  EXPECT_EQ(say("a: refused", minutes(61)), "a: refused; still trying, for 61 min");
  EXPECT_EQ(persistence.Worked(kStart + hours(5)), "works again after 5 h");
  EXPECT_EQ(persistence.Worked(kStart + hours(5)), "");
  EXPECT_EQ(say("a: refused", hours(5)), "a: refused; trying again") << "it is new again";
}

// An hour's outage of a minute's flapping is two lines a minute, not one a second.
TEST(Setback, ANewKindIsSaidAtOnce) {
  Persistence persistence;
  EXPECT_THAT(persistence.Failed(UnreachableError("away"), kStart, 0).say, HasSubstr("away"));
  EXPECT_THAT(persistence.Failed(BadFileError("records.jsonl:3"), kStart, 0).say, HasSubstr("records.jsonl:3"));
  EXPECT_EQ(persistence.Worked(kStart + seconds(3)), "works again after 3 s");
}

}  // namespace
}  // namespace fedglm
