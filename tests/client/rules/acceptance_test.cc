// Which adapters a site lets answer.
#include "client/rules/acceptance.h"

#include <gtest/gtest.h>

#include <limits>

namespace fedglm {
namespace {

TEST(Acceptance, NoWorseThanThePartThatIsAllowed) {
  EXPECT_TRUE(Accepts({1.9, 10}, {2.0, 10}, 0));
  EXPECT_TRUE(Accepts({2.0, 10}, {2.0, 10}, 0));
  EXPECT_FALSE(Accepts({2.02, 10}, {2.0, 10}, 0));
  EXPECT_TRUE(Accepts({2.09, 10}, {2.0, 10}, 0.05));
  EXPECT_FALSE(Accepts({2.12, 10}, {2.0, 10}, 0.05));
  EXPECT_TRUE(Accepts({0.009, 10}, {0, 10}, 0.05)) << "near 0 a part of it is nothing";
  EXPECT_FALSE(Accepts({0.02, 10}, {0, 10}, 0.05));
}

TEST(Acceptance, WhatIsNotFiniteNeverAnswers) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  EXPECT_FALSE(Accepts({nan, 10}, {2.0, 10}, 1e9));
  EXPECT_FALSE(Accepts({infinity, 10}, {2.0, 10}, 1e9));
  EXPECT_FALSE(Accepts({nan, 10}, {nan, 10}, 0.05));
  EXPECT_TRUE(Accepts({2.0, 10}, {nan, 10}, 0.05)) << "anything is better than that";
}

}  // namespace
}  // namespace fedglm
