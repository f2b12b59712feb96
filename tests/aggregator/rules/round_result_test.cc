#include "aggregator/rules/round_result.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "tests/aggregator/rounds/small_federation.h"
#include "tests/aggregator/updates/memory_updates.h"

namespace fedglm {
namespace {

constexpr UpdateForm kForm = UpdateForm::kChangeOfB;

TensorMap Filled(float value) {
  TensorMap update = TensorsOf(SmallAdapter(), kForm);
  for (auto& [name, tensor] : update) std::fill(tensor.values.begin(), tensor.values.end(), value);
  return update;
}

RoundResult Result(const std::string& strategy, const std::vector<TensorMap>& updates,
                   const std::vector<int64_t>& weights) {
  const std::unique_ptr<Strategy> made = Get(MakeStrategy(strategy));
  return Get(CombineUpdates(*made, SmallAdapter(), kForm, {}, MemoryUpdates(updates, weights), {}));
}

TEST(CombineUpdates, OfNothingIsTheGlobalAdapter) {
  const RoundResult result = Result("fedadam", {}, {});
  EXPECT_EQ(WeightsSha256(result.combined.adapter), WeightsSha256(SmallAdapter()));
  EXPECT_TRUE(result.contributors.empty());
  EXPECT_TRUE(result.combined.state.empty());
}

TEST(CombineUpdates, SaysWhoWentInAndWhatWasDone) {
  const std::vector<TensorMap> updates = {Filled(1), Filled(1), Filled(-900), Filled(1), Filled(1)};
  const RoundResult mean = Result("fedavg", updates, {1, 1, 1, 1, 1});
  EXPECT_EQ(mean.contributors, (std::vector<size_t>{0, 1, 2, 3, 4}));
  ASSERT_EQ(mean.remarks.size(), 1u);
  EXPECT_EQ(mean.remarks[0].update, 2u);
  EXPECT_EQ(mean.remarks[0].action, "update scaled down");

  const RoundResult krum = Result("multi-krum", updates, {1, 1, 1, 1, 1});
  EXPECT_EQ(krum.contributors, (std::vector<size_t>{0, 1, 3, 4}));
  ASSERT_EQ(krum.remarks.size(), 2u);
  EXPECT_EQ(krum.remarks[1].update, 2u);
  EXPECT_EQ(krum.remarks[1].action, "update left out");
}

}  // namespace
}  // namespace fedglm
