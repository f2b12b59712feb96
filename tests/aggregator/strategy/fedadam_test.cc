// FedAdam against the equations of algorithm 2 in Reddi et al. 2021, written out once more here, in double throughout.
#include "aggregator/strategy/fedadam.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/aggregator/small_federation.h"
#include "tests/aggregator/strategy/set_number.h"

namespace fedglm {
namespace {

// Not the defaults: a number that is not read would be seen.
constexpr double kRate = 0.05, kBeta1 = 0.8, kBeta2 = 0.95, kTau = 0.02;

FedAdam Configured() {
  FedAdam strategy;
  SetNumber(strategy, "aggregation.learning_rate", kRate);
  SetNumber(strategy, "aggregation.beta1", kBeta1);
  SetNumber(strategy, "aggregation.beta2", kBeta2);
  SetNumber(strategy, "aggregation.tau", kTau);
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
constexpr int64_t kExamples[] = {5, 1, 14};

AggregationResult Round(const Strategy& strategy, const Adapter& global, UpdateForm form, unsigned round,
                        TensorMap state) {
  const std::unique_ptr<Aggregation> aggregation = Get(strategy.Begin(global, form, std::move(state)));
  const std::vector<TensorMap> updates = UpdatesOf(global, form, round);
  for (size_t site = 0; site < updates.size(); ++site) {
    EXPECT_TRUE(aggregation->Fold(updates[site], kExamples[site]).ok());
  }
  return Get(aggregation->Finish());
}

// m, v and x of one tensor.
struct Moments {
  std::vector<double> m, v, x;
  void Step(const std::vector<TensorMap>& updates, const std::string& name) {
    for (size_t i = 0; i < x.size(); ++i) {
      double d = 0;
      for (size_t site = 0; site < updates.size(); ++site) {
        d += static_cast<double>(kExamples[site]) / 20.0 * updates[site].at(name).values[i];
      }
      m[i] = kBeta1 * m[i] + (1 - kBeta1) * d;
      v[i] = kBeta2 * v[i] + (1 - kBeta2) * d * d;
      x[i] += kRate * m[i] / (std::sqrt(v[i]) + kTau);
    }
  }
};

class FedAdamTest : public testing::TestWithParam<UpdateForm> {
 protected:
  const Adapter initial_ = SmallAdapter();
};

TEST_P(FedAdamTest, FollowsThePapersEquationsOverManyRounds) {
  std::map<std::string, Moments> expected;
  for (const auto& [name, tensor] : TensorsOf(initial_, GetParam())) {
    const size_t size = tensor.values.size();
    const std::vector<double> x(tensor.values.begin(), tensor.values.end());
    expected[name] = {std::vector<double>(size, 0), std::vector<double>(size, kTau * kTau), x};
  }
  const FedAdam strategy = Configured();
  AggregationResult result;
  result.adapter = initial_;
  for (unsigned round = 1; round <= 12; ++round) {
    const std::vector<TensorMap> updates = UpdatesOf(result.adapter, GetParam(), round);
    result = Round(strategy, result.adapter, GetParam(), round, std::move(result.state));
    for (const auto& [name, tensor] : TensorsOf(result.adapter, GetParam())) {
      Moments& moments = expected[name];
      moments.Step(updates, name);
      for (size_t i = 0; i < moments.x.size(); ++i) {
        ASSERT_NEAR(tensor.values[i], moments.x[i], 1e-6 * (1 + std::abs(moments.x[i]))) << name << " round " << round;
        ASSERT_NEAR(result.state.at("m." + name).values[i], moments.m[i], 1e-7 + 1e-6 * std::abs(moments.m[i]));
        ASSERT_NEAR(result.state.at("v." + name).values[i], moments.v[i], 3e-6 * moments.v[i]);
      }
    }
  }
  EXPECT_EQ(result.adapter.config, initial_.config);
  if (TrainsA(GetParam())) return;
  for (const auto& [name, pair] : initial_.modules) EXPECT_EQ(result.adapter.modules.at(name).a, pair.a);
}

// Restarted before every round: strategy and state come from a configuration and from bytes.
TEST_P(FedAdamTest, EndsInTheSameBytesWhereItIsStartedAgain) {
  const FedAdam one = Configured();
  AggregationResult straight, restarted;
  straight.adapter = restarted.adapter = initial_;
  for (unsigned round = 1; round <= 6; ++round) {
    straight = Round(one, straight.adapter, GetParam(), round, std::move(straight.state));
    TensorMap state = restarted.state.empty() ? TensorMap() : Get(ParseTensors(SerializeTensors(restarted.state)));
    Adapter global = Get(ParseAdapter(SerializeAdapter(restarted.adapter)));
    restarted = Round(Configured(), global, GetParam(), round, std::move(state));
  }
  EXPECT_EQ(SerializeAdapter(restarted.adapter), SerializeAdapter(straight.adapter));
  EXPECT_EQ(SerializeTensors(restarted.state), SerializeTensors(straight.state));
}

INSTANTIATE_TEST_SUITE_P(Forms, FedAdamTest, testing::Values(UpdateForm::kChangeOfB, UpdateForm::kChangeOfFactors),
                         [](const auto& info) { return TrainsA(info.param) ? "average" : "freezea"; });

TEST(FedAdam, CombinesChangesOnly) {
  const FedAdam strategy;
  EXPECT_FALSE(strategy.Combines(UpdateForm::kFactors));
  EXPECT_FALSE(strategy.Combines(UpdateForm::kGradientOfB));
}

TEST(FedAdam, AStateOfAnotherAdapterIsRefused) {
  const FedAdam strategy;
  const Adapter global = SmallAdapter();
  const UpdateForm form = UpdateForm::kChangeOfB;
  const TensorMap good = Round(strategy, global, form, 1, {}).state;
  TensorMap missing = good, reshaped = good, extra = good;
  missing.erase(missing.begin());
  std::swap(reshaped.begin()->second.rows, reshaped.begin()->second.columns);
  extra["round"] = Matrix::Zero(1, 1);
  for (const TensorMap& bad : {missing, reshaped, extra}) {
    EXPECT_EQ(ExitCodeOf(strategy.Begin(global, form, bad).status()), ExitCode::kBadInputFile);
  }
  EXPECT_TRUE(strategy.Begin(global, form, good).ok());
}

TEST(FedAdam, ARoundOfNothingFails) {
  const FedAdam strategy;
  const auto round = Get(strategy.Begin(SmallAdapter(), UpdateForm::kChangeOfB, {}));
  EXPECT_EQ(ExitCodeOf(round->Finish().status()), ExitCode::kFailed);
}

}  // namespace
}  // namespace fedglm
