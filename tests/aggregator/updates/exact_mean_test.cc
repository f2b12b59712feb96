#include "aggregator/updates/exact_mean.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace fedglm {
namespace {

std::vector<float> RandomValues(size_t count, std::mt19937& generator) {
  std::normal_distribution<double> magnitude(-8, 6);  // exponents of ten: from far below 2^-48 to some millions
  std::vector<float> values(count);
  for (float& value : values) {
    value = static_cast<float>(std::min(std::pow(10.0, magnitude(generator)), kLargestValue));
    if (generator() % 2 == 0) value = -value;
  }
  return values;
}

TEST(ExactSum, DoesNotDependOnTheOrderToTheLastBit) {
  std::mt19937 generator(1);
  std::vector<std::pair<std::vector<float>, int64_t>> updates;
  for (int i = 0; i < 20; ++i) {
    updates.emplace_back(RandomValues(500, generator), 1 + static_cast<int64_t>(generator() % kLargestWeight));
  }
  const auto means = [&] {
    ExactSum sum(500);
    for (const auto& [values, weight] : updates) sum.Add(values, weight);
    std::vector<double> all(500);
    for (size_t i = 0; i < all.size(); ++i) all[i] = sum.Mean(i);
    return all;
  };
  const std::vector<double> first = means();
  for (int trial = 0; trial < 5; ++trial) {
    std::shuffle(updates.begin(), updates.end(), generator);
    EXPECT_EQ(means(), first);
  }
}

TEST(ExactSum, IsTheMeanWithinItsResolution) {
  std::mt19937 generator(2);
  std::vector<long double> expected(300);
  long double weights = 0;
  ExactSum sum(300);
  for (int i = 0; i < 9; ++i) {
    const std::vector<float> values = RandomValues(300, generator);
    const int64_t weight = 1 + static_cast<int64_t>(generator() % 100000);
    sum.Add(values, weight);
    for (size_t k = 0; k < values.size(); ++k) expected[k] += static_cast<long double>(weight) * values[k];
    weights += static_cast<long double>(weight);
  }
  for (size_t k = 0; k < expected.size(); ++k) {
    const auto mean = static_cast<double>(expected[k] / weights);
    EXPECT_NEAR(sum.Mean(k), mean, 0x1p-48 + 1e-15 * std::abs(mean)) << k;
  }
}

TEST(ExactSum, HasRoomForTheLargestOfEverySite) {
  constexpr int kSites = 1 << 17;
  const std::vector<float> values = {static_cast<float>(kLargestValue), static_cast<float>(-kLargestValue)};
  ExactSum sum(2);
  for (int site = 0; site < kSites; ++site) sum.Add(values, kLargestWeight);
  EXPECT_EQ(sum.Mean(0), kLargestValue);
  EXPECT_EQ(sum.Mean(1), -kLargestValue);
}

TEST(ExactSum, KeepsSmallAndLargeOnesApart) {
  ExactSum sum(1);
  sum.Add(std::vector<float>{0x1p30f}, 1);
  sum.Add(std::vector<float>{0x1p-40f}, 1);
  sum.Add(std::vector<float>{-0x1p30f}, 1);
  EXPECT_EQ(sum.Mean(0), 0x1p-40 / 3);
}

}  // namespace
}  // namespace fedglm
