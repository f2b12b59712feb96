#include "inference/memory/memory_budget.h"

#include <gtest/gtest.h>

#include "base/memory.h"

namespace fedglm {
namespace {

TEST(MemoryBudget, AReservationShrinksAndGrowsWithinTheTotal) {
  MemoryBudget budget(1000);
  absl::StatusOr<MemoryReservation> pages = budget.Reserve(MemoryAccount::kKvPages, 400);
  absl::StatusOr<MemoryReservation> weights = budget.Reserve(MemoryAccount::kPinnedWeights, 500);
  ASSERT_TRUE(pages.ok() && weights.ok());
  EXPECT_EQ(pages->Resize(501).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(pages->bytes(), 400u);
  EXPECT_TRUE(weights->Resize(300).ok());
  EXPECT_TRUE(pages->Resize(700).ok());
  EXPECT_EQ(budget.used(), 1000u);
  EXPECT_EQ(budget.used(MemoryAccount::kPinnedWeights), 300u);
  pages = MemoryReservation();
  EXPECT_EQ(budget.used(), 300u);
}

TEST(MemoryBudget, BytesAreHandedOverFromOneAccountToAnother) {
  MemoryBudget budget(1000);
  absl::StatusOr<MemoryReservation> pinned = budget.Reserve(MemoryAccount::kPinnedWeights, 700);
  absl::StatusOr<MemoryReservation> streamed = budget.Reserve(MemoryAccount::kStreamedWeights, 300);
  ASSERT_TRUE(pinned.ok() && streamed.ok());
  pinned->MoveTo(*streamed, 200);
  EXPECT_EQ(pinned->bytes(), 500u);
  EXPECT_EQ(budget.used(MemoryAccount::kStreamedWeights), 500u);
  streamed = MemoryReservation();
  EXPECT_EQ(budget.used(), 500u);
}

TEST(MemoryBudget, WithoutANumberItIsPartOfWhatIsAvailable) {
  const uint64_t budget = MemoryBudget(0).total();
  EXPECT_GT(budget, 0u);
  EXPECT_LT(budget, TotalMemoryBytes());
}

}  // namespace
}  // namespace fedglm
