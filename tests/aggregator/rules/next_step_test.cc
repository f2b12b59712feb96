// What a site is told to do next.
#include "aggregator/rules/next_step.h"

#include <gtest/gtest.h>

namespace fedglm {
namespace {

const FederationPosition kTraining = {.round = 4, .adapter_sha256 = "four", .expected = true};

SitePosition Runs(int64_t round, const std::string& sha256) {
  SitePosition site;
  site.installed_round = round;
  site.installed_sha256 = sha256;
  return site;
}

TEST(NextStep, TheLatestAdapterBeforeAllElse) {
  EXPECT_EQ(StepFor({}, kTraining), NextStep::kInstall) << "a new site";
  EXPECT_EQ(StepFor(Runs(3, "three"), kTraining), NextStep::kInstall);
  EXPECT_EQ(StepFor(Runs(4, "four"), kTraining), NextStep::kTrain);
  EXPECT_EQ(StepFor(Runs(4, "four"), {.round = 4, .adapter_sha256 = "four"}), NextStep::kWait);
  EXPECT_EQ(StepFor(Runs(4, "four"), {.round = 4, .adapter_sha256 = "four", .finished = true}), NextStep::kFinished);
}

// The aggregator was restored from a copy: its sites are ahead of it, or run another adapter of the same round.
TEST(NextStep, SitesFollowAnAggregatorThatWasRestored) {
  EXPECT_EQ(StepFor(Runs(9, "nine"), kTraining), NextStep::kInstall);
  EXPECT_EQ(StepFor(Runs(4, "another four"), kTraining), NextStep::kInstall);
  EXPECT_EQ(StepFor(Runs(9, "nine"), {.round = 4, .adapter_sha256 = "four", .finished = true}), NextStep::kInstall);
  EXPECT_EQ(StepFor(Runs(3, "four"), kTraining), NextStep::kTrain) << "the same adapter under another number";
}

TEST(NextStep, OfAnOlderNodeOnlyTheRoundIsKnown) {
  EXPECT_EQ(StepFor(Runs(4, ""), kTraining), NextStep::kTrain);
  EXPECT_EQ(StepFor(Runs(3, ""), kTraining), NextStep::kInstall);
  EXPECT_EQ(StepFor(Runs(9, ""), kTraining), NextStep::kInstall);
}

TEST(NextStep, WhatASiteDeclinedIsNotOfferedAgain) {
  SitePosition site = Runs(3, "three");
  site.declined_sha256 = "four";
  EXPECT_EQ(StepFor(site, kTraining), NextStep::kWait) << "it does not run there";
  site.trains_from_declined = true;
  EXPECT_EQ(StepFor(site, kTraining), NextStep::kTrain) << "it is only worse there, and becomes better by training";
  EXPECT_EQ(StepFor(site, {.round = 5, .adapter_sha256 = "five", .expected = true}), NextStep::kInstall);
}

TEST(Rejection, TakesMoreThanTheShare) {
  EXPECT_FALSE(IsRejected(0, 0, 0.5));
  EXPECT_FALSE(IsRejected(0, 3, 0.0));
  EXPECT_TRUE(IsRejected(1, 3, 0.0));
  EXPECT_FALSE(IsRejected(1, 2, 0.5));
  EXPECT_FALSE(IsRejected(2, 4, 0.5));
  EXPECT_TRUE(IsRejected(2, 3, 0.5));
  EXPECT_TRUE(IsRejected(1, 1, 0.5));
  EXPECT_FALSE(IsRejected(10, 10, 1.0)) << "never";
}

TEST(Setbacks, AreWordsOfAFixedList) {
  EXPECT_TRUE(IsSetback("records"));
  EXPECT_FALSE(IsSetback(""));
  EXPECT_FALSE(IsSetback("records of Max Mustermann"));
}

}  // namespace
}  // namespace fedglm
