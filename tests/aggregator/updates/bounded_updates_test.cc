#include "aggregator/updates/bounded_updates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "tests/aggregator/rounds/small_federation.h"
#include "tests/aggregator/updates/memory_updates.h"

namespace fedglm {
namespace {

constexpr UpdateForm kForm = UpdateForm::kChangeOfB;

TEST(CapWeights, NoneIsMoreThanItsShareAndThoseBelowItStay) {
  std::mt19937 generator(1);
  std::uniform_int_distribution<int64_t> count(1, 12);
  std::uniform_real_distribution<double> exponent(0, 31), shares(0.05, 1);
  for (int trial = 0; trial < 2000; ++trial) {
    std::vector<int64_t> weights(static_cast<size_t>(count(generator)));
    for (int64_t& weight : weights) weight = static_cast<int64_t>(std::exp2(exponent(generator)));
    const double share = shares(generator);
    const std::vector<int64_t> capped = CapWeights(weights, share);
    ASSERT_EQ(capped.size(), weights.size());
    const auto sum = static_cast<double>(std::accumulate(capped.begin(), capped.end(), int64_t{0}));
    const int64_t heaviest = *std::max_element(capped.begin(), capped.end());
    if (share * static_cast<double>(weights.size()) <= 1) {
      EXPECT_EQ(capped, std::vector<int64_t>(weights.size(), *std::min_element(weights.begin(), weights.end())));
      continue;
    }
    // Weights are whole numbers: a cap below 1 is 1.
    EXPECT_LE(static_cast<double>(heaviest), std::max(1.0, share * sum + 1)) << "share " << share;
    bool changed = false;
    for (size_t i = 0; i < weights.size(); ++i) {
      EXPECT_GE(capped[i], 1);
      if (capped[i] == weights[i]) continue;
      EXPECT_EQ(capped[i], heaviest);
      changed = true;
    }
    const auto total = static_cast<double>(std::accumulate(weights.begin(), weights.end(), int64_t{0}));
    const bool heavy = static_cast<double>(*std::max_element(weights.begin(), weights.end())) > share * total;
    EXPECT_EQ(changed, heavy) << "share " << share;
  }
}

TEST(CapWeights, OfTwoSitesWithHalfTheWeightEachCountsAsTheOther) {
  EXPECT_EQ(CapWeights({int64_t{1} << 31, 100}, 0.5), (std::vector<int64_t>{100, 100}));
  EXPECT_EQ(CapWeights({5}, 0.5), (std::vector<int64_t>{5}));
  EXPECT_EQ(CapWeights({7, 3, 90}, 1), (std::vector<int64_t>{7, 3, 90}));
  EXPECT_EQ(CapWeights({7, 3, 90}, 0), (std::vector<int64_t>{3, 3, 3}));
}

std::vector<TensorMap> UpdatesOfNorms(const Adapter& global, const std::vector<double>& norms) {
  std::vector<TensorMap> updates;
  for (size_t i = 0; i < norms.size(); ++i) {
    updates.push_back(RandomUpdate(global, kForm, static_cast<unsigned>(i)));
    const double scale = norms[i] / NormOf(updates.back());
    for (auto& [name, tensor] : updates.back()) {
      for (float& value : tensor.values) value = static_cast<float>(value * scale);
    }
  }
  return updates;
}

double NormOfRead(const BoundedUpdates& bounded, size_t update, const Adapter& global) {
  TensorMap read = TensorsOf(global, kForm);
  for (auto& [name, tensor] : read) EXPECT_TRUE(bounded.Read(update, name, tensor.values).ok());
  return NormOf(read);
}

TEST(BoundedUpdates, OneFarAboveTheMedianIsScaledToTheBound) {
  const Adapter global = SmallAdapter();
  const std::vector<double> norms = {1.0, 0.8, 1.2, 1e9, 2.9};
  const MemoryUpdates all(UpdatesOfNorms(global, norms), {5, 5, 5, 5, 5});
  const BoundedUpdates bounded = Get(BoundedUpdates::Make(global, kForm, all, {.norm = 3}));
  for (size_t i = 0; i < norms.size(); ++i) {
    EXPECT_NEAR(bounded.norm(i), norms[i], 1e-6 * norms[i]);
    EXPECT_NEAR(NormOfRead(bounded, i, global), i == 3 ? 3 * 1.2 : norms[i], 1e-5) << i;
    EXPECT_EQ(bounded.scale(i) < 1, i == 3) << i;
  }
}

// The median of two is the lower one, and what is zero has no say.
TEST(BoundedUpdates, HalfOfTheSitesDoNotSetTheBound) {
  const Adapter global = SmallAdapter();
  const auto scale_of_last = [&](const std::vector<double>& norms) {
    const MemoryUpdates all(UpdatesOfNorms(global, norms), std::vector<int64_t>(norms.size(), 1));
    return Get(BoundedUpdates::Make(global, kForm, all, {.norm = 2})).scale(norms.size() - 1);
  };
  EXPECT_NEAR(scale_of_last({1, 1e6}), 2e-6, 1e-9);
  EXPECT_NEAR(scale_of_last({1, 1, 1e6, 1e6}), 2e-6, 1e-9);
  EXPECT_EQ(scale_of_last({0, 0, 0, 5}), 1);
  EXPECT_EQ(scale_of_last({0}), 1);
}

TEST(BoundedUpdates, NoBoundAndFactorsScaleNothing) {
  const Adapter global = SmallAdapter();
  const MemoryUpdates all(UpdatesOfNorms(global, {1, 1, 1e6}), {1, 1, 1});
  EXPECT_EQ(Get(BoundedUpdates::Make(global, kForm, all, {.norm = 0})).scale(2), 1);
  std::vector<TensorMap> factors(3, TensorsOf(global, UpdateForm::kFactors));
  for (auto& [name, tensor] : factors[2]) {
    for (float& value : tensor.values) value *= 100;
  }
  const MemoryUpdates of_factors(factors, {1, 1, 1});
  EXPECT_EQ(Get(BoundedUpdates::Make(global, UpdateForm::kFactors, of_factors, {.norm = 2})).scale(2), 1);
}

}  // namespace
}  // namespace fedglm
