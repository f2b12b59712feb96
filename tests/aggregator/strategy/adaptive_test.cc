// FedAdam, FedYogi and FedAdagrad against the equations of algorithm 2 in Reddi et al. 2021, and FedAvgM against those
// of Hsu et al. 2019, written out once more here, in double throughout.
#include "aggregator/strategy/adaptive.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "tests/aggregator/rounds/small_federation.h"
#include "tests/aggregator/strategy/combined.h"
#include "tests/aggregator/strategy/set_number.h"

namespace fedglm {
namespace {

// Not the defaults: a number that is not read would be seen.
constexpr double kRate = 0.05, kBeta1 = 0.8, kBeta2 = 0.95, kTau = 0.02;

std::unique_ptr<Strategy> Configured(const std::string& name) {
  std::unique_ptr<Strategy> strategy = Get(MakeStrategy(name));
  SetNumber(*strategy, "aggregation.learning_rate", kRate);
  SetNumber(*strategy, "aggregation.beta1", kBeta1);
  SetNumber(*strategy, "aggregation.beta2", kBeta2);
  SetNumber(*strategy, "aggregation.tau", kTau);
  return strategy;
}

// The updates of a round: sizes differ from round to round by three orders of magnitude.
std::vector<TensorMap> UpdatesOf(const Adapter& global, UpdateForm form, unsigned round) {
  std::vector<TensorMap> updates;
  for (unsigned site = 0; site < 3; ++site) {
    updates.push_back(RandomUpdate(global, form, 10 * round + site));
    for (auto& [name, tensor] : updates.back()) {
      for (float& value : tensor.values) value *= static_cast<float>(std::pow(10.0, -static_cast<int>(round % 4)));
    }
  }
  return updates;
}
const std::vector<int64_t> kExamples = {5, 1, 14};

AggregationResult Round(const Strategy& strategy, const Adapter& global, UpdateForm form, unsigned round,
                        TensorMap state) {
  return Combined(strategy, global, form, UpdatesOf(global, form, round), kExamples, std::move(state));
}

double MeanOf(const std::vector<TensorMap>& updates, const std::string& name, size_t i) {
  double d = 0;
  for (size_t site = 0; site < updates.size(); ++site) {
    d += static_cast<double>(kExamples[site]) / 20.0 * updates[site].at(name).values[i];
  }
  return d;
}

double NextV(const std::string& strategy, double v, double d) {
  const double square = d * d;
  if (strategy == "fedadam") return kBeta2 * v + (1 - kBeta2) * square;
  if (strategy == "fedadagrad") return v + square;
  return v - (1 - kBeta2) * square * (v > square ? 1 : v < square ? -1 : 0);  // sign(v - d^2)
}

// m, v and x of one tensor.
struct Moments {
  std::vector<double> m, v, x;
  void Step(const std::string& strategy, const std::vector<TensorMap>& updates, const std::string& name) {
    for (size_t i = 0; i < x.size(); ++i) {
      const double d = MeanOf(updates, name, i);
      m[i] = kBeta1 * m[i] + (1 - kBeta1) * d;
      v[i] = NextV(strategy, v[i], d);
      x[i] += kRate * m[i] / (std::sqrt(v[i]) + kTau);
    }
  }
};

class AdaptiveTest : public testing::TestWithParam<std::tuple<const char*, UpdateForm>> {
 protected:
  const std::string name_ = std::get<0>(GetParam());
  const UpdateForm form_ = std::get<1>(GetParam());
  const Adapter initial_ = SmallAdapter();
};

TEST_P(AdaptiveTest, FollowsThePapersEquationsOverManyRounds) {
  std::map<std::string, Moments> expected;
  for (const auto& [name, tensor] : TensorsOf(initial_, form_)) {
    const size_t size = tensor.values.size();
    const std::vector<double> x(tensor.values.begin(), tensor.values.end());
    expected[name] = {std::vector<double>(size, 0), std::vector<double>(size, kTau * kTau), x};
  }
  const std::unique_ptr<Strategy> strategy = Configured(name_);
  AggregationResult result;
  result.adapter = initial_;
  for (unsigned round = 1; round <= 12; ++round) {
    const std::vector<TensorMap> updates = UpdatesOf(result.adapter, form_, round);
    result = Round(*strategy, result.adapter, form_, round, std::move(result.state));
    for (const auto& [name, tensor] : TensorsOf(result.adapter, form_)) {
      Moments& moments = expected[name];
      moments.Step(name_, updates, name);
      for (size_t i = 0; i < moments.x.size(); ++i) {
        ASSERT_NEAR(tensor.values[i], moments.x[i], 1e-6 * (1 + std::abs(moments.x[i]))) << name << " round " << round;
        ASSERT_NEAR(result.state.at("m." + name).values[i], moments.m[i], 1e-7 + 1e-6 * std::abs(moments.m[i]));
        ASSERT_NEAR(result.state.at("v." + name).values[i], moments.v[i], 3e-6 * moments.v[i]);
      }
    }
  }
  EXPECT_EQ(result.adapter.config, initial_.config);
  if (TrainsA(form_)) return;
  for (const auto& [name, pair] : initial_.modules) EXPECT_EQ(result.adapter.modules.at(name).a, pair.a);
}

// Restarted before every round: strategy and state come from a configuration and from bytes.
TEST_P(AdaptiveTest, EndsInTheSameBytesWhereItIsStartedAgain) {
  const std::unique_ptr<Strategy> one = Configured(name_);
  AggregationResult straight, restarted;
  straight.adapter = restarted.adapter = initial_;
  for (unsigned round = 1; round <= 6; ++round) {
    straight = Round(*one, straight.adapter, form_, round, std::move(straight.state));
    TensorMap state = restarted.state.empty() ? TensorMap() : Get(ParseTensors(SerializeTensors(restarted.state)));
    Adapter global = Get(ParseAdapter(SerializeAdapter(restarted.adapter)));
    restarted = Round(*Configured(name_), global, form_, round, std::move(state));
  }
  EXPECT_EQ(SerializeAdapter(restarted.adapter), SerializeAdapter(straight.adapter));
  EXPECT_EQ(SerializeTensors(restarted.state), SerializeTensors(straight.state));
}

INSTANTIATE_TEST_SUITE_P(Strategies, AdaptiveTest,
                         testing::Combine(testing::Values("fedadam", "fedyogi", "fedadagrad"),
                                          testing::Values(UpdateForm::kChangeOfB, UpdateForm::kChangeOfFactors)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) +
                                  (TrainsA(std::get<1>(info.param)) ? "_average" : "_freezea");
                         });

TEST(FedAvgM, FollowsThePapersEquationsAndARestartChangesNothing) {
  constexpr double kMomentum = 0.7;
  const std::unique_ptr<Strategy> strategy = Get(MakeStrategy("fedavgm"));
  SetNumber(*strategy, "aggregation.learning_rate", kRate);
  SetNumber(*strategy, "aggregation.momentum", kMomentum);
  const UpdateForm form = UpdateForm::kChangeOfB;
  AggregationResult result;
  result.adapter = SmallAdapter();
  std::map<std::string, std::vector<double>> u, x;
  for (const auto& [name, tensor] : TensorsOf(result.adapter, form)) {
    u[name].resize(tensor.values.size());
    x[name].assign(tensor.values.begin(), tensor.values.end());
  }
  for (unsigned round = 1; round <= 8; ++round) {
    const std::vector<TensorMap> updates = UpdatesOf(result.adapter, form, round);
    TensorMap state = result.state.empty() ? TensorMap() : Get(ParseTensors(SerializeTensors(result.state)));
    result = Round(*strategy, result.adapter, form, round, std::move(state));
    for (const auto& [name, tensor] : TensorsOf(result.adapter, form)) {
      for (size_t i = 0; i < tensor.values.size(); ++i) {
        u[name][i] = kMomentum * u[name][i] + MeanOf(updates, name, i);
        x[name][i] += kRate * u[name][i];
        ASSERT_NEAR(tensor.values[i], x[name][i], 1e-6 * (1 + std::abs(x[name][i]))) << name << " round " << round;
      }
    }
  }
}

class RememberingTest : public testing::TestWithParam<const char*> {
 protected:
  const std::unique_ptr<Strategy> strategy_ = Get(MakeStrategy(GetParam()));
  const Adapter global_ = SmallAdapter();
  const UpdateForm form_ = UpdateForm::kChangeOfB;
};

TEST_P(RememberingTest, CombinesChangesOnly) {
  EXPECT_FALSE(strategy_->Combines(UpdateForm::kFactors));
  EXPECT_FALSE(strategy_->Combines(UpdateForm::kGradientOfB));
}

TEST_P(RememberingTest, AStateOfAnotherAdapterIsRefused) {
  const TensorMap good = Round(*strategy_, global_, form_, 1, {}).state;
  TensorMap missing = good, reshaped = good, extra = good;
  missing.erase(missing.begin());
  std::swap(reshaped.begin()->second.rows, reshaped.begin()->second.columns);
  extra["round"] = Matrix::Zero(1, 1);
  const MemoryUpdates updates(UpdatesOf(global_, form_, 2), kExamples);
  for (const TensorMap& bad : {missing, reshaped, extra}) {
    EXPECT_EQ(ExitCodeOf(strategy_->Combine(global_, form_, updates, bad).status()), ExitCode::kBadInputFile);
  }
  EXPECT_TRUE(strategy_->Combine(global_, form_, updates, good).ok());
}

INSTANTIATE_TEST_SUITE_P(Strategies, RememberingTest, testing::Values("fedadam", "fedyogi", "fedadagrad", "fedavgm"));

}  // namespace
}  // namespace fedglm
