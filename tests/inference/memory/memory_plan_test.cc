#include "inference/memory/memory_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace fedglm {
namespace {

struct RandomModel {
  WeightLayout layout;
  Hyperparameters hyperparameters;
  PlanOptions options;

  explicit RandomModel(uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto between = [&](int64_t low, int64_t high) {
      return low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low + 1));
    };
    Hyperparameters& h = hyperparameters;
    h.architecture = *FindArchitecture(between(0, 1) == 0 ? "glm4" : "llama");
    h.layers = between(1, 80);
    h.hidden = between(1, 64) * 64;
    h.feed_forward = h.hidden * between(1, 4);
    h.heads = 8, h.kv_heads = 2, h.head_size = h.hidden / 8;
    h.vocabulary = between(100, 150000);
    // A few types of layers, as files with mixed block types have them; the output matrix may be smaller or far larger.
    const int64_t sizes[] = {between(1, 4000), between(1, 4000), between(1, 4000)};
    for (int64_t i = 0; i <= h.layers; ++i) {
      const int64_t pages = i == h.layers ? between(1, 20000) : sizes[random() % 3];
      layout.layers.push_back({{{0, static_cast<uint64_t>(pages) * kReadAlignment}}});
    }
    layout.metadata_bytes = static_cast<uint64_t>(between(1000, 8 << 20));
    layout.vector_values = static_cast<uint64_t>(between(1000, 1 << 20));
    options.context = between(1, 32768);
    options.running = between(1, 8);
    options.threads = static_cast<int>(between(1, 8));
    options.activation_bytes = static_cast<uint64_t>(between(0, 64 << 20));
    options.kv_bytes_per_position = static_cast<uint64_t>(between(64, 1 << 17));
    options.process_bytes = static_cast<uint64_t>(between(0, 64 << 20));
    options.memory_bandwidth = 3e10;
    options.disk_bandwidth = 1e9;
  }

  absl::StatusOr<MemoryPlan> Plan(uint64_t budget) {
    options.budget = budget;
    return PlanMemory(layout, hyperparameters, options);
  }

  // The smallest budget that has a plan.
  uint64_t Least() {
    uint64_t low = 1, high = uint64_t{1} << 45;
    while (low < high) {
      const uint64_t middle = low + (high - low) / 2;
      if (Plan(middle).ok()) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
};

TEST(MemoryPlan, AccountsStayWithinTheBudgetAndAddUpToTheModel) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    RandomModel model(seed);
    std::mt19937_64 random(seed);
    model.options.adapter_bytes = seed % 2 * (random() % (uint64_t{256} << 20));
    const uint64_t least = model.Least(), all = least + model.layout.bytes() + (uint64_t{1} << 30);
    for (int i = 0; i < 20; ++i) {
      const absl::StatusOr<MemoryPlan> plan = model.Plan(least + random() % (all - least));
      ASSERT_TRUE(plan.ok()) << seed << ": " << Message(plan.status());
      EXPECT_LE(plan->total(), plan->budget) << seed;
      EXPECT_EQ(plan->account(MemoryAccount::kAdapters), model.options.adapter_bytes) << seed;
      EXPECT_EQ(plan->account(MemoryAccount::kPinnedWeights) + plan->streamed_bytes, model.layout.bytes()) << seed;
      EXPECT_EQ(plan->streams(), plan->pinned_count() <= plan->layers()) << seed;
      EXPECT_EQ(plan->account(MemoryAccount::kStreamedWeights),
                plan->slot_bytes * static_cast<uint64_t>(plan->ring_slots))
          << seed;
      EXPECT_GE(plan->kv_positions, std::min<int64_t>(512, model.options.context)) << seed;
      EXPECT_LE(plan->kv_positions, model.options.context * model.options.running) << seed;
      for (int64_t layer = 0; layer <= plan->layers(); ++layer) {
        if (plan->pinned[static_cast<size_t>(layer)]) continue;
        EXPECT_LE(model.layout.layers[static_cast<size_t>(layer)].bytes(), plan->slot_bytes) << seed;
      }
    }
  }
}

TEST(MemoryPlan, MoreBudgetNeverPinsFewerLayersNorMakesATokenSlower) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    RandomModel model(seed);
    const uint64_t least = model.Least(), all = least + model.layout.bytes() + (uint64_t{1} << 30);
    int64_t pinned = 0;
    double speed = 0;
    for (int i = 0; i <= 200; ++i) {
      const MemoryPlan plan = *model.Plan(least + (all - least) / 200 * static_cast<uint64_t>(i));
      EXPECT_GE(plan.pinned_count(), pinned) << seed << " at step " << i;
      EXPECT_GE(plan.tokens_per_second, speed) << seed << " at step " << i;
      pinned = plan.pinned_count();
      speed = plan.tokens_per_second;
    }
  }
}

TEST(MemoryPlan, ABudgetAboveTheWholeModelStreamsNothing) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    RandomModel model(seed);
    const MemoryPlan plan = *model.Plan(uint64_t{1} << 46);
    EXPECT_FALSE(plan.streams());
    EXPECT_EQ(plan.streamed_bytes, 0u);
    EXPECT_EQ(plan.kv_positions, model.options.context * model.options.running);
    EXPECT_NEAR(plan.tokens_per_second, 3e10 / static_cast<double>(model.layout.bytes()),
                1e-6 * plan.tokens_per_second);
  }
}

TEST(MemoryPlan, TooSmallABudgetSaysInOneLineHowMuchIsNeeded) {
  RandomModel model(3);
  const uint64_t least = model.Least();
  EXPECT_TRUE(model.Plan(least).ok());
  const absl::Status status = model.Plan(least - 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(Message(status).find("the model needs "), std::string::npos) << Message(status);
  EXPECT_NE(Message(status).find("--memory-budget"), std::string::npos) << Message(status);
  EXPECT_EQ(Message(status).find('\n'), std::string::npos);
}

TEST(MemoryPlan, AdaptersAreMadeRoomForByLayersAndCountAmongWhatIsNeeded) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    RandomModel model(seed);
    const uint64_t least = model.Least(), budget = least + model.layout.bytes() / 2;
    int64_t pinned = model.Plan(budget)->pinned_count();
    for (uint64_t part = 8; part >= 1; --part) {
      model.options.adapter_bytes = (budget - least) / part;
      const absl::StatusOr<MemoryPlan> plan = model.Plan(budget);
      ASSERT_TRUE(plan.ok()) << seed << ": " << Message(plan.status());
      EXPECT_LE(plan->pinned_count(), pinned) << seed;
      pinned = plan->pinned_count();
    }
    ++model.options.adapter_bytes;
    const absl::Status status = model.Plan(budget).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_NE(Message(status).find("the model and its adapters need "), std::string::npos) << Message(status);
  }
}

TEST(MemoryPlan, ATokenTakesWhatTheDiskTakesForTheStreamedBytes) {
  RandomModel model(5);
  const MemoryPlan plan = *model.Plan(model.Least());
  ASSERT_TRUE(plan.streams());
  EXPECT_NEAR(plan.tokens_per_second, 1e9 / static_cast<double>(plan.streamed_bytes), 1e-6 * plan.tokens_per_second);
  model.options.disk_bandwidth = 0;
  EXPECT_EQ(model.Plan(model.Least())->tokens_per_second, 0);
}

TEST(PinningOrder, BeginsWithTheOutputAndLeavesStreamedLayersSpread) {
  for (int64_t layers = 1; layers <= 100; ++layers) {
    const std::vector<int64_t> order = PinningOrder(layers);
    ASSERT_EQ(order.size(), static_cast<size_t>(layers) + 1);
    EXPECT_EQ(order.front(), layers);
    EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), order.size());
    EXPECT_EQ(*std::min_element(order.begin(), order.end()), 0);
    for (size_t pinned = 1; pinned < order.size(); ++pinned) {
      const std::set<int64_t> streamed(order.begin() + static_cast<ptrdiff_t>(pinned), order.end());
      // The longest way from one streamed layer to the next, round the end of the pass: at most twice the even one, and
      // the bits' rounding.
      int64_t longest = *streamed.begin() + layers - *streamed.rbegin(), before = *streamed.begin();
      for (const int64_t layer : streamed) longest = std::max(longest, layer - before), before = layer;
      const int64_t even = (layers + static_cast<int64_t>(streamed.size()) - 1) / static_cast<int64_t>(streamed.size());
      EXPECT_LE(longest, 4 * even) << layers << " layers, " << streamed.size() << " streamed";
    }
  }
}

}  // namespace
}  // namespace fedglm
