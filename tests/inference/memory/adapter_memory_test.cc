#include "inference/memory/adapter_memory.h"

#include <gtest/gtest.h>

namespace fedglm {
namespace {

TEST(AdapterMemory, RoomIsForAllAndTheLargestOnceMore) {
  EXPECT_EQ(RoomForAdapters({}), 0u);
  const uint64_t one[] = {7}, several[] = {3, 10, 5};
  EXPECT_EQ(RoomForAdapters(one), 14u);
  EXPECT_EQ(RoomForAdapters(several), 28u);
}

TEST(AdapterMemory, WhatIsSetAsideIsChargedAlsoWhileNobodyTakesIt) {
  MemoryBudget budget(1000);
  AdapterMemory adapters(budget);
  EXPECT_EQ(budget.used(), 0u);
  ASSERT_TRUE(adapters.SetAside(600).ok());
  EXPECT_EQ(budget.used(MemoryAccount::kAdapters), 600u);
  EXPECT_EQ(budget.Reserve(MemoryAccount::kKvPages, 500).status().code(), absl::StatusCode::kResourceExhausted);
  absl::StatusOr<AdapterMemory::Share> first = adapters.Take(300), second = adapters.Take(300);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(budget.used(), 600u);
  EXPECT_EQ(adapters.taken(), 600u);
  first = AdapterMemory::Share();
  EXPECT_EQ(adapters.taken(), 300u);
  EXPECT_EQ(budget.used(), 600u);
}

TEST(AdapterMemory, WhatIsTakenBeyondThatGoesBackWithItsLastHolder) {
  MemoryBudget budget(1000);
  AdapterMemory adapters(budget);
  absl::StatusOr<AdapterMemory::Share> old = adapters.Take(400);
  ASSERT_TRUE(old.ok() && adapters.SetAside(500).ok());
  absl::StatusOr<AdapterMemory::Share> next = adapters.Take(300);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(adapters.charged(), 700u);
  EXPECT_EQ(adapters.Take(400).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(adapters.SetAside(1001).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(adapters.charged(), 700u);
  ASSERT_TRUE(adapters.SetAside(0).ok());
  EXPECT_EQ(adapters.charged(), 700u) << "it is still there";
  old = AdapterMemory::Share();
  EXPECT_EQ(budget.used(), 300u);
  next = AdapterMemory::Share();
  EXPECT_EQ(budget.used(), 0u);
}

}  // namespace
}  // namespace fedglm
