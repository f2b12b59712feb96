// The strategies that bear hostile sites: each against its definition, and against attacks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "aggregator/strategy/geometric_median.h"
#include "aggregator/strategy/multi_krum.h"
#include "aggregator/updates/distances.h"
#include "tests/aggregator/rounds/small_federation.h"
#include "tests/aggregator/strategy/combined.h"
#include "tests/aggregator/strategy/set_number.h"

namespace fedglm {
namespace {

constexpr UpdateForm kForm = UpdateForm::kChangeOfB;

// All trained values of a map in a row.
std::vector<double> Flat(const TensorMap& tensors) {
  std::vector<double> all;
  for (const auto& [name, tensor] : tensors) all.insert(all.end(), tensor.values.begin(), tensor.values.end());
  return all;
}

// What the strategy adds to the global adapter.
std::vector<double> ChangeBy(const Strategy& strategy, const std::vector<TensorMap>& updates,
                             const std::vector<int64_t>& weights, std::vector<size_t>* left_out = nullptr) {
  const Adapter global = SmallAdapter();
  const AggregationResult result = Combined(strategy, global, kForm, updates, weights);
  if (left_out != nullptr) *left_out = result.left_out;
  return Flat(Get(MakeUpdate(global, result.adapter, kForm)));
}

std::vector<TensorMap> RandomUpdates(size_t count, unsigned seed) {
  std::vector<TensorMap> updates;
  for (size_t i = 0; i < count; ++i) {
    updates.push_back(RandomUpdate(SmallAdapter(), kForm, seed + static_cast<unsigned>(i)));
  }
  return updates;
}

double Distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

TEST(Median, IsTheMiddleOneOfEachValue) {
  for (const size_t count : {1, 2, 3, 4, 7, 10}) {
    const std::vector<TensorMap> updates = RandomUpdates(count, 10);
    const std::vector<double> change = ChangeBy(*Get(MakeStrategy("median")), updates, std::vector<int64_t>(count, 3));
    for (size_t i = 0; i < change.size(); ++i) {
      std::vector<double> values;
      for (const TensorMap& update : updates) values.push_back(Flat(update)[i]);
      std::sort(values.begin(), values.end());
      EXPECT_NEAR(change[i], (values[(count - 1) / 2] + values[count / 2]) / 2, 1e-6) << count << " sites, " << i;
    }
  }
}

TEST(TrimmedMean, LeavesOutTheExtremesOfEachValue) {
  const std::unique_ptr<Strategy> strategy = Get(MakeStrategy("trimmed-mean"));
  SetNumber(*strategy, "aggregation.trim", 0.3);
  for (const size_t count : {1, 2, 3, 5, 10}) {
    const size_t trimmed = std::vector<size_t>{0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 3}[count];
    const std::vector<TensorMap> updates = RandomUpdates(count, 30);
    const std::vector<double> change = ChangeBy(*strategy, updates, std::vector<int64_t>(count, 3));
    for (size_t i = 0; i < change.size(); ++i) {
      std::vector<double> values;
      for (const TensorMap& update : updates) values.push_back(Flat(update)[i]);
      std::sort(values.begin(), values.end());
      const auto begin = values.begin() + static_cast<ptrdiff_t>(trimmed);
      const auto end = values.end() - static_cast<ptrdiff_t>(trimmed);
      EXPECT_NEAR(change[i], std::accumulate(begin, end, 0.0) / static_cast<double>(end - begin), 1e-6) << count;
    }
  }
}

// No neighbour of it has a smaller weighted sum of distances.
TEST(GeometricMedian, HasTheLeastSumOfDistances) {
  std::mt19937 generator(4);
  std::normal_distribution<double> normal;
  for (unsigned trial = 0; trial < 8; ++trial) {
    const size_t count = 3 + trial;
    const std::vector<TensorMap> updates = RandomUpdates(count, 100 * trial);
    std::vector<int64_t> weights;
    for (size_t i = 0; i < count; ++i) weights.push_back(1 + static_cast<int64_t>(generator() % 5));
    const auto cost = [&](const std::vector<double>& z) {
      double sum = 0;
      for (size_t i = 0; i < count; ++i) sum += static_cast<double>(weights[i]) * Distance(z, Flat(updates[i]));
      return sum;
    };
    const std::vector<double> z = ChangeBy(*Get(MakeStrategy("geometric-median")), updates, weights);
    for (int neighbour = 0; neighbour < 50; ++neighbour) {
      std::vector<double> moved = z;
      for (double& value : moved) value += 0.02 * normal(generator);
      EXPECT_LT(cost(z), cost(moved) + 1e-6);
    }
  }
}

TEST(GeometricMedian, OfEqualUpdatesIsTheirs) {
  const TensorMap update = RandomUpdates(1, 5).front();
  const std::vector<double> z = ChangeBy(*Get(MakeStrategy("geometric-median")), {update, update, update}, {1, 2, 9});
  EXPECT_LT(Distance(z, Flat(update)), 1e-5);
}

TEST(MultiKrum, ScoresAreTheSumsOfTheNearest) {
  const std::vector<std::vector<double>> distances = {{0, 1, 4, 9}, {1, 0, 16, 25}, {4, 16, 0, 36}, {9, 25, 36, 0}};
  EXPECT_EQ(KrumScores(distances, 1), (std::vector<double>{1, 1, 4, 9}));
  EXPECT_EQ(KrumScores(distances, 2), (std::vector<double>{5, 17, 20, 34}));
}

TEST(MultiKrum, DistancesAreThoseOfTheValues) {
  const std::vector<TensorMap> updates = RandomUpdates(4, 50);
  const auto distances = Get(SquaredDistances(SmallAdapter(), kForm, MemoryUpdates(updates, {1, 1, 1, 1})));
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < 4; ++j) {
      EXPECT_NEAR(std::sqrt(distances[i][j]), Distance(Flat(updates[i]), Flat(updates[j])), 1e-6);
    }
  }
}

TEST(MultiKrum, LeavesOutTheFarthestAndAveragesTheOthersByWeight) {
  std::vector<TensorMap> updates = RandomUpdates(5, 70);
  for (auto& [name, tensor] : updates[3]) {
    for (float& value : tensor.values) value += 50;
  }
  std::vector<size_t> left_out;
  const std::vector<double> change = ChangeBy(*Get(MakeStrategy("multi-krum")), updates, {1, 2, 3, 1000, 4}, &left_out);
  EXPECT_EQ(left_out, std::vector<size_t>{3});
  for (size_t i = 0; i < change.size(); ++i) {
    const double mean =
        (Flat(updates[0])[i] + 2 * Flat(updates[1])[i] + 3 * Flat(updates[2])[i] + 4 * Flat(updates[4])[i]) / 10;
    EXPECT_NEAR(change[i], mean, 1e-6);
  }
}

TEST(MultiKrum, BelowFiveSitesIsTheMean) {
  MultiKrum strategy;
  for (const size_t count : {1, 2, 3, 4}) EXPECT_EQ(strategy.HostileOf(count), 0u);
  EXPECT_EQ(strategy.HostileOf(5), 1u);
  EXPECT_EQ(strategy.HostileOf(10), 2u);
  std::vector<size_t> left_out = {9};
  ChangeBy(strategy, RandomUpdates(4, 1), {1, 1, 1, 1}, &left_out);
  EXPECT_TRUE(left_out.empty());
}

// Eight sites agree but for noise; two attack. What comes out stays near the honest mean, where the plain one does not.
class AttackTest : public testing::TestWithParam<const char*> {
 protected:
  AttackTest() {
    const TensorMap common = RandomUpdates(1, 1000).front();
    for (unsigned site = 0; site < 8; ++site) {
      honest_.push_back(common);
      EXPECT_TRUE(AddScaled(0.1, RandomUpdates(1, 2000 + site).front(), honest_.back()).ok());
    }
    for (const TensorMap& update : honest_) {
      const std::vector<double> flat = Flat(update);
      honest_mean_.resize(flat.size());
      for (size_t i = 0; i < flat.size(); ++i) honest_mean_[i] += flat[i] / 8;
    }
  }
  double Harm(const char* strategy, const TensorMap& attack) const {
    std::vector<TensorMap> updates = {attack};
    updates.insert(updates.end(), honest_.begin(), honest_.end());
    updates.push_back(attack);
    return Distance(ChangeBy(*Get(MakeStrategy(strategy)), updates, std::vector<int64_t>(10, 7)), honest_mean_);
  }

  std::vector<TensorMap> honest_;
  std::vector<double> honest_mean_;
};

TEST_P(AttackTest, TwoOfTenDoNotMoveIt) {
  const double norm =
      std::sqrt(std::inner_product(honest_mean_.begin(), honest_mean_.end(), honest_mean_.begin(), 0.0));
  for (const double factor : {-1.0, -10.0, -1e4, 1e7}) {
    TensorMap attack = honest_.front();
    for (auto& [name, tensor] : attack) {
      for (float& value : tensor.values) value = static_cast<float>(value * factor);
    }
    EXPECT_LT(Harm(GetParam(), attack), 0.12 * norm) << "times " << factor;
    EXPECT_GT(Harm("fedavg", attack), 0.3 * norm) << "times " << factor;
  }
}

INSTANTIATE_TEST_SUITE_P(Strategies, AttackTest,
                         testing::Values("median", "trimmed-mean", "geometric-median", "multi-krum"));

}  // namespace
}  // namespace fedglm
