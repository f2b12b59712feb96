#include "aggregator/strategy/strategy.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "aggregator/strategy/stacking.h"
#include "aggregator/strategy/truncation.h"
#include "tests/aggregator/strategy/combined.h"
#include "tests/aggregator/strategy/set_number.h"

namespace fedglm {
namespace {

using Product = Eigen::MatrixXd;

Matrix Random(int64_t rows, int64_t columns, std::mt19937& generator) {
  std::normal_distribution<float> normal;
  Matrix matrix = Matrix::Zero(rows, columns);
  for (float& value : matrix.values) value = normal(generator);
  return matrix;
}

Product ToDouble(const Matrix& m) {
  Product result(m.rows, m.columns);
  for (int64_t i = 0; i < m.rows; ++i) {
    for (int64_t j = 0; j < m.columns; ++j) result(i, j) = m.values[static_cast<size_t>(i * m.columns + j)];
  }
  return result;
}

Product Multiply(const Matrix& b, const Matrix& a) { return ToDouble(b) * ToDouble(a); }

// An adapter with two modules of different shapes.
Adapter RandomAdapter(int64_t rank, std::mt19937& generator) {
  Adapter adapter;
  adapter.config.rank = rank;
  adapter.config.target_modules = {"k_proj", "q_proj"};
  adapter.modules["layers.0.q_proj"] = {Random(rank, 7, generator), Random(9, rank, generator)};
  adapter.modules["layers.0.k_proj"] = {Random(rank, 7, generator), Random(4, rank, generator)};
  return adapter;
}

TensorMap RandomUpdate(const Adapter& global, UpdateForm mode, std::mt19937& generator) {
  TensorMap update = TensorsOf(global, mode);
  for (auto& [name, tensor] : update) tensor = Random(tensor.rows, tensor.columns, generator);
  return update;
}

// A round of the form's default strategy. `rate`: of FedSGD.
AggregationResult Aggregate(const Adapter& global, UpdateForm form, const std::vector<TensorMap>& updates,
                            const std::vector<int64_t>& examples, double rate = 1.0) {
  const std::unique_ptr<Strategy> strategy = DefaultStrategy(form);
  if (form == UpdateForm::kGradientOfB) SetNumber(*strategy, "federation.server_learning_rate", rate);
  return Combined(*strategy, global, form, updates, examples);
}

// global + step * sum_k (n_k / n) update_k, in double.
void ExpectWeightedMean(const Matrix& result, const Matrix& global, const std::string& name, double step,
                        const std::vector<TensorMap>& updates, const std::vector<int64_t>& examples) {
  double total = 0;
  for (const int64_t n : examples) total += static_cast<double>(n);
  for (size_t i = 0; i < global.values.size(); ++i) {
    double expected = global.values[i];
    for (size_t k = 0; k < updates.size(); ++k) {
      expected += step * static_cast<double>(examples[k]) / total * updates[k].at(name).values[i];
    }
    EXPECT_NEAR(result.values[i], expected, 1e-6 * (1 + std::abs(expected))) << name << " " << i;
  }
}

TEST(FreezeA, AddsTheMeanWeightedByExamplesToBAndKeepsA) {
  std::mt19937 generator(1);
  const Adapter global = RandomAdapter(3, generator);
  const std::vector<int64_t> examples = {1, 10, 3};
  std::vector<TensorMap> updates;
  for (size_t k = 0; k < examples.size(); ++k)
    updates.push_back(RandomUpdate(global, UpdateForm::kChangeOfB, generator));
  const Adapter result = Aggregate(global, UpdateForm::kChangeOfB, updates, examples).adapter;
  EXPECT_EQ(result.config, global.config);
  for (const auto& [name, pair] : global.modules) {
    EXPECT_EQ(result.modules.at(name).a, pair.a);
    ExpectWeightedMean(result.modules.at(name).b, pair.b, name + ".lora_B", 1.0, updates, examples);
  }
}

// With A frozen the average of B is the average of BA: what `average` is not.
TEST(FreezeA, IsTheExactMeanOfTheProducts) {
  std::mt19937 generator(2);
  const Adapter global = RandomAdapter(3, generator);
  const std::vector<int64_t> examples = {4, 9};
  std::vector<TensorMap> updates;
  for (size_t k = 0; k < 2; ++k) updates.push_back(RandomUpdate(global, UpdateForm::kChangeOfB, generator));
  const Adapter result = Aggregate(global, UpdateForm::kChangeOfB, updates, examples).adapter;
  for (const auto& [name, pair] : global.modules) {
    Product mean = Product::Zero(pair.b.rows, pair.a.columns);
    for (size_t k = 0; k < 2; ++k) {
      mean += examples[k] / 13.0 * (ToDouble(pair.b) + ToDouble(updates[k].at(name + ".lora_B"))) * ToDouble(pair.a);
    }
    const LoraPair& out = result.modules.at(name);
    EXPECT_LT((Multiply(out.b, out.a) - mean).norm(), 1e-6 * mean.norm());
  }
}

TEST(Average, AveragesBothFactors) {
  std::mt19937 generator(3);
  const Adapter global = RandomAdapter(2, generator);
  const std::vector<int64_t> examples = {5, 1};
  std::vector<TensorMap> updates;
  for (size_t k = 0; k < 2; ++k) updates.push_back(RandomUpdate(global, UpdateForm::kChangeOfFactors, generator));
  const Adapter result = Aggregate(global, UpdateForm::kChangeOfFactors, updates, examples).adapter;
  for (const auto& [name, pair] : global.modules) {
    ExpectWeightedMean(result.modules.at(name).a, pair.a, name + ".lora_A", 1.0, updates, examples);
    ExpectWeightedMean(result.modules.at(name).b, pair.b, name + ".lora_B", 1.0, updates, examples);
  }
}

TEST(FedSgd, StepsAgainstTheMeanGradient) {
  std::mt19937 generator(4);
  const Adapter global = RandomAdapter(2, generator);
  const std::vector<int64_t> examples = {2, 6};
  std::vector<TensorMap> gradients;
  for (size_t k = 0; k < 2; ++k) gradients.push_back(RandomUpdate(global, UpdateForm::kGradientOfB, generator));
  const Adapter result = Aggregate(global, UpdateForm::kGradientOfB, gradients, examples, 0.25).adapter;
  for (const auto& [name, pair] : global.modules) {
    EXPECT_EQ(result.modules.at(name).a, pair.a);
    ExpectWeightedMean(result.modules.at(name).b, pair.b, name + ".lora_B", -0.25, gradients, examples);
  }
}

// One local step of SGD at every site and their average is one step on the mean gradient, which is the pooled batch's.
TEST(FreezeA, OneLocalStepIsFedSgdsStep) {
  std::mt19937 generator(5);
  const Adapter global = RandomAdapter(2, generator);
  const double rate = 0.1;
  const std::vector<int64_t> examples = {7, 7, 7};
  std::vector<TensorMap> gradients, steps;
  for (size_t k = 0; k < 3; ++k) {
    gradients.push_back(RandomUpdate(global, UpdateForm::kGradientOfB, generator));
    steps.push_back(gradients.back());
    for (auto& [name, tensor] : steps.back()) {
      for (float& value : tensor.values) value = static_cast<float>(-rate * value);
    }
  }
  const Adapter averaged = Aggregate(global, UpdateForm::kChangeOfB, steps, examples).adapter;
  const Adapter stepped = Aggregate(global, UpdateForm::kGradientOfB, gradients, examples, rate).adapter;
  for (const auto& [name, pair] : averaged.modules) {
    EXPECT_LT((ToDouble(pair.b) - ToDouble(stepped.modules.at(name).b)).norm(), 1e-6 * ToDouble(pair.b).norm());
  }
}

TEST(Stack, ReproducesTheMeanOfTheProductsBeforeTruncation) {
  std::mt19937 generator(6);
  std::uniform_int_distribution<int64_t> extent(1, 40), rank(1, 12), sites(1, 9);
  std::uniform_real_distribution<double> weight(1, 5000);
  for (int trial = 0; trial < 60; ++trial) {
    const int64_t outputs = extent(generator), inputs = extent(generator), count = sites(generator);
    FactorStack stack;
    Product sum = Product::Zero(outputs, inputs);
    double total = 0;
    for (int64_t k = 0; k < count; ++k) {
      const int64_t r = rank(generator);  // sites may differ in it
      const LoraPair pair = {Random(r, inputs, generator), Random(outputs, r, generator)};
      const double w = std::floor(weight(generator));
      stack.Add(pair, w);
      sum += w * Multiply(pair.b, pair.a);
      total += w;
    }
    const StackedFactors stacked = stack.Mean();
    const Product mean = sum / total;
    EXPECT_LT((Multiply(stacked.b, stacked.a) - mean).norm(), 1e-5 * mean.norm())
        << outputs << "x" << inputs << ", " << count << " sites";
  }
}

TEST(Stack, TruncationIsTheBestOfItsRankAndItsErrorIsTheOneMeasured) {
  std::mt19937 generator(7);
  std::uniform_int_distribution<int64_t> extent(6, 40);
  for (int trial = 0; trial < 30; ++trial) {
    const int64_t outputs = extent(generator), inputs = extent(generator), stacked_rank = extent(generator), rank = 4;
    const StackedFactors factors = {Random(stacked_rank, inputs, generator), Random(outputs, stacked_rank, generator)};
    const TruncatedPair truncated = TruncateToRank(factors, rank);
    ASSERT_EQ(truncated.pair.a.rows, rank);
    ASSERT_EQ(truncated.pair.b.columns, rank);
    const Product exact = Multiply(factors.b, factors.a);
    const double measured = (exact - Multiply(truncated.pair.b, truncated.pair.a)).norm();
    EXPECT_NEAR(std::sqrt(truncated.squared_norm), exact.norm(), 1e-6 * exact.norm());
    EXPECT_NEAR(std::sqrt(truncated.squared_error), measured, 1e-5 * exact.norm());
    // Eckart-Young: no matrix of this rank is nearer than the tail of the singular values.
    const Eigen::VectorXd values = Eigen::JacobiSVD<Product>(exact).singularValues();
    EXPECT_NEAR(measured, values.tail(values.size() - rank).norm(), 1e-5 * exact.norm());
  }
}

TEST(Stack, ARankThatSufficesIsExact) {
  std::mt19937 generator(8);
  // Twelve stacked ranks, but all sites share A, so that the product has rank 3.
  const Matrix a = Random(3, 20, generator);
  FactorStack stack;
  Product mean = Product::Zero(15, 20);
  for (int k = 1; k <= 4; ++k) {
    const LoraPair pair = {a, Random(15, 3, generator)};
    stack.Add(pair, k);
    mean += k / 10.0 * Multiply(pair.b, pair.a);
  }
  for (const int64_t rank : {3, 5}) {
    const TruncatedPair truncated = TruncateToRank(stack.Mean(), rank);
    EXPECT_LT((Multiply(truncated.pair.b, truncated.pair.a) - mean).norm(), 1e-5 * mean.norm());
    EXPECT_LT(std::sqrt(truncated.squared_error), 1e-6 * mean.norm());
  }
}

TEST(Stack, ReportsTheErrorOverAllModules) {
  std::mt19937 generator(9);
  const Adapter global = RandomAdapter(2, generator);
  const std::vector<int64_t> examples = {3, 1, 2};
  std::vector<TensorMap> updates;
  for (size_t k = 0; k < 3; ++k) updates.push_back(RandomUpdate(global, UpdateForm::kFactors, generator));
  const AggregationResult result = Aggregate(global, UpdateForm::kFactors, updates, examples);
  double norm = 0, error = 0;
  for (const auto& [name, pair] : result.adapter.modules) {
    EXPECT_EQ(pair.a.rows, 2);
    Product mean = Product::Zero(pair.b.rows, pair.a.columns);
    for (size_t k = 0; k < 3; ++k) {
      mean += examples[k] / 6.0 * Multiply(updates[k].at(name + ".lora_B"), updates[k].at(name + ".lora_A"));
    }
    norm += mean.squaredNorm();
    error += (mean - Multiply(pair.b, pair.a)).squaredNorm();
  }
  EXPECT_GT(result.truncation_error, 0.01);  // six stacked ranks do not fit into two
  EXPECT_NEAR(result.truncation_error, std::sqrt(error / norm), 1e-5);
}

TEST(Stack, OfNothingButZeroIsZeroWithoutError) {
  const StackedFactors zero = {Matrix::Zero(6, 5), Matrix::Zero(7, 6)};
  const TruncatedPair truncated = TruncateToRank(zero, 2);
  EXPECT_EQ(truncated.squared_error, 0);
  EXPECT_EQ(Multiply(truncated.pair.b, truncated.pair.a).norm(), 0);
}

TEST(Strategies, AreFoundByTheirNamesAndEachFormHasOne) {
  EXPECT_EQ(DefaultStrategy(UpdateForm::kChangeOfB)->name(), "fedavg");
  EXPECT_EQ(DefaultStrategy(UpdateForm::kChangeOfFactors)->name(), "fedavg");
  EXPECT_EQ(DefaultStrategy(UpdateForm::kFactors)->name(), "stacking");
  EXPECT_EQ(DefaultStrategy(UpdateForm::kGradientOfB)->name(), "fedsgd");
  for (const char* name : {"fedavg", "stacking", "fedsgd", "fedadam", "fedyogi", "fedadagrad", "fedavgm", "median",
                           "trimmed-mean", "geometric-median", "multi-krum"}) {
    EXPECT_EQ((*MakeStrategy(name))->name(), name);
  }
  const absl::Status unknown = MakeStrategy("mode").status();
  EXPECT_EQ(ExitCodeOf(unknown), ExitCode::kUsage);
  EXPECT_NE(Message(unknown).find("fedavg, stacking, fedsgd, fedadam"), std::string::npos) << Message(unknown);
}

class EveryMode : public testing::TestWithParam<UpdateForm> {};

TEST_P(EveryMode, TheSameUpdatesInTheSameOrderGiveTheSameBytes) {
  std::mt19937 generator(10);
  const Adapter global = RandomAdapter(2, generator);
  std::vector<TensorMap> updates;
  for (size_t k = 0; k < 4; ++k) updates.push_back(RandomUpdate(global, GetParam(), generator));
  const std::vector<int64_t> examples = {1, 2, 3, 4};
  const std::string once = SerializeAdapter(Aggregate(global, GetParam(), updates, examples).adapter);
  EXPECT_EQ(SerializeAdapter(Aggregate(global, GetParam(), updates, examples).adapter), once);
  EXPECT_NE(SerializeAdapter(Aggregate(global, GetParam(), updates, {4, 3, 2, 1}).adapter), once);
}

TEST_P(EveryMode, FailsWhereAnUpdateCannotBeRead) {
  std::mt19937 generator(11);
  const Adapter global = RandomAdapter(2, generator);
  const TensorMap good = RandomUpdate(global, GetParam(), generator);
  const std::string name = "layers.0.q_proj.lora_B";
  TensorMap missing = good, larger = good;
  missing.erase(name);
  larger[name] = Matrix::Zero(10, 10);
  for (const TensorMap& bad : {missing, larger}) {
    const absl::Status status =
        DefaultStrategy(GetParam())->Combine(global, GetParam(), MemoryUpdates({good, bad}, {3, 3}), {}).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
    EXPECT_NE(Message(status).find(name), std::string::npos) << Message(status);
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, EveryMode,
                         testing::Values(UpdateForm::kChangeOfB, UpdateForm::kChangeOfFactors, UpdateForm::kFactors,
                                         UpdateForm::kGradientOfB),
                         [](const auto& info) {
                           std::string name(UpdateFormName(info.param));
                           name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
                           return name;
                         });

}  // namespace
}  // namespace fedglm
