#include "inference/engine/mixed_chunk.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace fedglm {
namespace {

// Steps of a machine that takes `answers` seconds for the answers' rows, `unpacking` more for any prompt and `row` for
// each of its rows; the last step's seconds.
double RunMixed(MixedChunk& chunk, double answers, double unpacking, double row, int steps = 50) {
  double seconds = 0;
  for (int step = 0; step < steps; ++step) {
    chunk.Observe(1, 0, answers);
    const int64_t rows = chunk.tokens();
    seconds = answers + unpacking + row * static_cast<double>(rows);
    chunk.Observe(1, rows, seconds);
  }
  return seconds;
}

TEST(MixedChunk, ASmallModelReadsAsMuchAsLeavesTenTokensASecond) {
  MixedChunk chunk(0);
  EXPECT_EQ(chunk.tokens(), 32);
  const double seconds = RunMixed(chunk, 0.005, 0.002, 0.001);
  EXPECT_LE(seconds, 0.1);
  EXPECT_GE(seconds, 0.085);
  EXPECT_GE(chunk.tokens(), 80);
}

TEST(MixedChunk, ALargeModelGivesPromptsHalfOfItsTime) {
  MixedChunk chunk(0);
  // A 9B with 4 bits on two cores: 5 tokens a second written, 70 read.
  const double seconds = RunMixed(chunk, 0.2, 0.03, 0.014);
  EXPECT_LE(seconds, 0.4);
  EXPECT_GT(seconds, 0.25);
  EXPECT_EQ(chunk.tokens(), 8);
}

TEST(MixedChunk, WhatADiskKeepsWaitingForCostsPromptsNothing) {
  // Weights come from a disk in 3 s; 100 rows of a prompt are computed meanwhile.
  MixedChunk chunk(0);
  for (int step = 0; step < 50; ++step) {
    chunk.Observe(1, 0, 3.0);
    const int64_t rows = chunk.tokens();
    chunk.Observe(1, rows, std::max(3.0, 0.03 * static_cast<double>(rows)));
  }
  EXPECT_GE(chunk.tokens(), 100);
}

TEST(MixedChunk, StaysWithinItsBounds) {
  MixedChunk slow(0), quick(0);
  RunMixed(slow, 0.5, 5, 3);
  EXPECT_EQ(slow.tokens(), 8);
  RunMixed(quick, 1e-6, 0, 1e-7);
  EXPECT_EQ(quick.tokens(), 256);
  quick.Observe(0, 1, 0);  // a clock that did not move
  EXPECT_EQ(quick.tokens(), 256);
}

TEST(MixedChunk, FollowsAMachineThatBecomesBusy) {
  MixedChunk chunk(0);
  RunMixed(chunk, 0.01, 0, 0.001);
  const int64_t before = chunk.tokens();
  RunMixed(chunk, 0.02, 0, 0.004, 5);
  EXPECT_LT(chunk.tokens(), before / 2);
  RunMixed(chunk, 0.01, 0, 0.001, 5);
  EXPECT_GE(chunk.tokens(), before - 8);
}

TEST(MixedChunk, APromptThatWasReadAloneTellsForTheNext) {
  MixedChunk chunk(0);
  chunk.Observe(0, 256, 256 * 0.01);
  EXPECT_EQ(chunk.tokens(), 8);
}

TEST(MixedChunk, AFixedOneIsFixed) {
  MixedChunk chunk(24);
  RunMixed(chunk, 0.01, 0, 0.1);
  EXPECT_EQ(chunk.tokens(), 24);
}

}  // namespace
}  // namespace fedglm
