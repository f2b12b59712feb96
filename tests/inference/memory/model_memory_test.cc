#include "inference/memory/model_memory.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/inference/memory/streamed_model.h"

namespace fedglm {
namespace {

// Twenty layers of some hundred KiB, in budgets between the least and all.
class SmallModelMemory : public testing::Test {
 protected:
  void SetUp() override {
    StreamedModel{.layers = 20, .matrices = 2}.Write(folder_.path() / "m.gguf");
    file_ = *GgufFile::Open(folder_.path() / "m.gguf");
    hyperparameters_.layers = 20;
    hyperparameters_.hidden = 72, hyperparameters_.feed_forward = 72, hyperparameters_.vocabulary = 1501;
    hyperparameters_.heads = 1, hyperparameters_.kv_heads = 1, hyperparameters_.head_size = 72;
    options_.context = 64;
    options_.activation_bytes = 64 << 10;
    options_.kv_bytes_per_position = 1000;
    options_.process_bytes = 1;
  }

  uint64_t WeightBytes() const { return LayOutWeights(*file_, 20).bytes(); }
  // What everything takes but the weights.
  uint64_t OtherBytes() {
    MemoryBudget budget(uint64_t{1} << 40);
    const MemoryPlan plan = (*ModelMemory::Open(file_, hyperparameters_, options_, budget))->plan();
    return plan.total() - plan.account(MemoryAccount::kPinnedWeights);
  }

  static void RunPass(ModelMemory& memory) {
    for (int64_t layer = 0; layer <= 20; ++layer) {
      ASSERT_TRUE(memory.Acquire(layer).ok());
      memory.Release(layer);
    }
  }

  const TemporaryDirectory folder_ = *TemporaryDirectory::Make();
  std::shared_ptr<const GgufFile> file_;
  Hyperparameters hyperparameters_;
  PlanOptions options_;
};

TEST_F(SmallModelMemory, ChargesWhatItPlans) {
  MemoryBudget budget(OtherBytes() + WeightBytes() / 2);
  {
    const auto memory = ModelMemory::Open(file_, hyperparameters_, options_, budget);
    ASSERT_TRUE(memory.ok()) << Message(memory.status());
    const MemoryPlan& plan = (*memory)->plan();
    EXPECT_TRUE(plan.streams());
    EXPECT_GT(plan.pinned_count(), 1);
    for (const MemoryAccount account :
         {MemoryAccount::kPinnedWeights, MemoryAccount::kStreamedWeights, MemoryAccount::kScratch}) {
      EXPECT_EQ(budget.used(account), plan.account(account)) << MemoryAccountName(account);
    }
    // What is left is enough for the pages and activations that the plan promised.
    EXPECT_GE(budget.total() - budget.used(),
              plan.account(MemoryAccount::kKvPages) + plan.account(MemoryAccount::kActivations));
    RunPass(**memory);
    EXPECT_GE((*memory)->WeightStatistics().streamed_bytes, plan.streamed_bytes - kReadAlignment);
  }
  EXPECT_EQ(budget.used(), 0u);
}

TEST_F(SmallModelMemory, ABudgetTooSmallSaysSoAndKeepsNothing) {
  MemoryBudget budget(1000);
  const auto memory = ModelMemory::Open(file_, hyperparameters_, options_, budget);
  EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(budget.used(), 0u);
}

TEST_F(SmallModelMemory, GivesWayToOthersAndTakesBackWhenTheyAreDone) {
  MemoryBudget budget(uint64_t{1} << 40);
  const auto opened = ModelMemory::Open(file_, hyperparameters_, options_, budget);
  ASSERT_TRUE(opened.ok());
  ModelMemory& memory = **opened;
  EXPECT_EQ(memory.WeightStatistics().pinned, 21);
  for (const int level : {0, 1, 2}) memory.GiveWay(level, level);
  EXPECT_EQ(memory.WeightStatistics().pinned, 21);  // layers are the ladder's third step
  memory.GiveWay(4, 2);                             // the level is still up, but memory is there: nothing more to give
  EXPECT_EQ(memory.WeightStatistics().pinned, 21);
  int64_t before = 21;
  uint64_t used = budget.used();
  for (int second = 0; second < 3; ++second) {
    memory.GiveWay(3, 3);
    EXPECT_LT(memory.WeightStatistics().pinned, before);
    EXPECT_LT(budget.used(), used);
    before = memory.WeightStatistics().pinned;
    used = budget.used();
    RunPass(memory);
  }
  for (int second = 0; second < 10; ++second) memory.GiveWay(4, 4);
  RunPass(memory);
  const int64_t least = memory.WeightStatistics().pinned;
  EXPECT_LT(least, 5);
  EXPECT_EQ(memory.CalmBytes(), WeightBytes());
  for (int second = 0; second < 4; ++second) memory.GiveWay(0, 0);
  EXPECT_EQ(memory.WeightStatistics().pinned, least);  // not at once
  for (int second = 0; second < 200; ++second) memory.GiveWay(0, 0);
  EXPECT_EQ(memory.WeightStatistics().pinned, 21);
  EXPECT_EQ(budget.used(MemoryAccount::kStreamedWeights), 0u);
  EXPECT_EQ(budget.used(MemoryAccount::kPinnedWeights), WeightBytes());
  RunPass(memory);
}

TEST_F(SmallModelMemory, LayersSayWhatRoomTheyNeedToComeBack) {
  MemoryBudget budget(OtherBytes() + WeightBytes());
  const auto opened = ModelMemory::Open(file_, hyperparameters_, options_, budget);
  ASSERT_TRUE(opened.ok());
  ModelMemory& memory = **opened;
  const int64_t planned = memory.WeightStatistics().pinned;
  for (int second = 0; second < 3; ++second) memory.GiveWay(3, 3);
  const int64_t least = memory.WeightStatistics().pinned;
  ASSERT_LT(least, planned);
  EXPECT_EQ(memory.RoomWanted(), 0u);
  {
    const auto pages = budget.Reserve(MemoryAccount::kKvPages, budget.total() - budget.used());
    ASSERT_TRUE(pages.ok());
    for (int second = 0; second < 5; ++second) memory.GiveWay(0, 0);
    EXPECT_EQ(memory.WeightStatistics().pinned, least);
    EXPECT_GT(memory.RoomWanted(), 0u);
    EXPECT_EQ(memory.TakeRoom().code(), absl::StatusCode::kResourceExhausted);
    memory.GiveWay(3, 0);
    EXPECT_EQ(memory.RoomWanted(), 0u);  // nothing comes back while others press
    for (int second = 0; second < 5; ++second) memory.GiveWay(0, 0);
  }
  const uint64_t used = budget.used(), wanted = memory.RoomWanted();
  ASSERT_TRUE(memory.TakeRoom().ok());
  EXPECT_EQ(budget.used() - used, wanted);
  EXPECT_EQ(memory.RoomWanted(), 0u);
  const auto rest = budget.Reserve(MemoryAccount::kKvPages, budget.total() - budget.used());
  memory.GiveWay(0, 0);  // what was taken for them nobody else has
  EXPECT_GT(memory.WeightStatistics().pinned, least);
  RunPass(memory);
}

TEST_F(SmallModelMemory, LayersMakeRoomForAdaptersAndComeBackWhenTheyAreGone) {
  MemoryBudget budget(OtherBytes() + WeightBytes());
  const auto opened = ModelMemory::Open(file_, hyperparameters_, options_, budget);
  ASSERT_TRUE(opened.ok());
  ModelMemory& memory = **opened;
  EXPECT_EQ(memory.WeightStatistics().pinned, 21);
  const uint64_t adapters = WeightBytes() / 8;
  ASSERT_TRUE(memory.PlanForAdapters(adapters).ok());
  const int64_t beside = memory.WeightStatistics().pinned;
  EXPECT_LT(beside, 21);
  EXPECT_GT(beside, 1);
  const auto weights = [&] {
    return budget.used(MemoryAccount::kPinnedWeights) + budget.used(MemoryAccount::kStreamedWeights);
  };
  EXPECT_EQ(memory.CalmBytes(), weights());
  {
    const auto charged = budget.Reserve(MemoryAccount::kAdapters, adapters);
    ASSERT_TRUE(charged.ok()) << Message(charged.status());
    // Not at the cost of what the plan promised to others.
    EXPECT_GE(budget.total() - budget.used(),
              memory.plan().account(MemoryAccount::kKvPages) + memory.plan().account(MemoryAccount::kActivations));
    for (int second = 0; second < 100; ++second) memory.GiveWay(0, 0);
    EXPECT_EQ(memory.WeightStatistics().pinned, beside);
    RunPass(memory);
  }
  for (int second = 0; second < 100; ++second) memory.GiveWay(0, 0);
  EXPECT_EQ(memory.WeightStatistics().pinned, 21);
  EXPECT_EQ(memory.CalmBytes(), WeightBytes());
  const absl::Status too_large = memory.PlanForAdapters(budget.total());
  EXPECT_EQ(too_large.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(memory.WeightStatistics().pinned, 21);
}

TEST_F(SmallModelMemory, LayersAreUnpinnedForWhatOthersHoldBeyondThePlan) {
  MemoryBudget budget(OtherBytes() + WeightBytes());
  const auto opened = ModelMemory::Open(file_, hyperparameters_, options_, budget);
  ASSERT_TRUE(opened.ok());
  ModelMemory& memory = **opened;
  const auto pages = budget.Reserve(MemoryAccount::kKvPages, budget.total() - budget.used());
  ASSERT_TRUE(pages.ok());
  EXPECT_FALSE(memory.UnpinFor(budget.total()));
  EXPECT_EQ(memory.WeightStatistics().pinned, 21);
  EXPECT_TRUE(memory.UnpinFor(WeightBytes() / 8));
  EXPECT_LT(memory.WeightStatistics().pinned, 21);
  EXPECT_GE(budget.total() - budget.used(), WeightBytes() / 8);
  RunPass(memory);
}

TEST_F(SmallModelMemory, LayersAreNotTakenBackFromKvPages) {
  MemoryBudget budget(OtherBytes() + WeightBytes());
  const auto opened = ModelMemory::Open(file_, hyperparameters_, options_, budget);
  ASSERT_TRUE(opened.ok());
  ModelMemory& memory = **opened;
  for (int second = 0; second < 4; ++second) memory.GiveWay(3, 3);
  const int64_t pinned = memory.WeightStatistics().pinned;
  const auto pages = budget.Reserve(MemoryAccount::kKvPages, budget.total() - budget.used());
  ASSERT_TRUE(pages.ok());
  for (int second = 0; second < 30; ++second) memory.GiveWay(0, 0);
  EXPECT_EQ(memory.WeightStatistics().pinned, pinned);
  RunPass(memory);
}

}  // namespace
}  // namespace fedglm
