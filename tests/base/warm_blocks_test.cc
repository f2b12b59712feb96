#include "base/warm_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace fedglm {
namespace {

class WarmBlocks : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(KeepBlocksWarm()); }
  void TearDown() override {
    for (void* const block : blocks_) EXPECT_TRUE(GiveWarmBlock(block));
  }
  // nullptr if there is none.
  std::byte* Take(size_t bytes) {
    void* const block = TakeWarmBlock(bytes);
    if (block != nullptr) blocks_.push_back(block);
    return static_cast<std::byte*>(block);
  }
  int TakeAll(size_t bytes) {
    int count = 0;
    while (Take(bytes) != nullptr) ++count;
    return count;
  }

  std::vector<void*> blocks_;
};

TEST_F(WarmBlocks, AreForThreadsThatAskForThem) {
  EXPECT_EQ(Take(1 << 20), nullptr);
  const WarmBlockScope outer;
  EXPECT_NE(Take(1 << 20), nullptr);
  { const WarmBlockScope inner; }
  EXPECT_NE(Take(1 << 20), nullptr);
  std::thread([&] { EXPECT_EQ(Take(1 << 20), nullptr); }).join();
}

TEST_F(WarmBlocks, AreLargeButNotAll) {
  const WarmBlockScope warm;
  EXPECT_EQ(Take(kSmallestWarmBlock - 1), nullptr);
  EXPECT_NE(Take(kSmallestWarmBlock), nullptr);
  EXPECT_NE(Take(kLargestWarmBlock), nullptr);
  EXPECT_EQ(Take(kLargestWarmBlock + 1), nullptr);
}

TEST_F(WarmBlocks, AreSixteenMebibytes) {
  const WarmBlockScope warm;
  EXPECT_EQ(TakeAll(kLargestWarmBlock), 4);
  EXPECT_EQ(TakeAll(kSmallestWarmBlock), 0);
  EXPECT_TRUE(GiveWarmBlock(blocks_[1]));
  blocks_.erase(blocks_.begin() + 1);
  EXPECT_EQ(TakeAll(kSmallestWarmBlock), 16) << "what is given can be taken in parts";
}

TEST_F(WarmBlocks, DoNotOverlap) {
  const WarmBlockScope warm;
  std::vector<std::pair<const std::byte*, const std::byte*>> taken;
  for (size_t bytes = kSmallestWarmBlock; std::byte* const block = Take(bytes); bytes += kSmallestWarmBlock / 2 + 1) {
    taken.emplace_back(block, block + bytes);
  }
  ASSERT_GT(taken.size(), 4u);
  std::ranges::sort(taken);
  for (size_t i = 1; i < taken.size(); ++i) EXPECT_LE(taken[i - 1].second, taken[i].first);
}

TEST_F(WarmBlocks, OthersMemoryIsNotTaken) {
  std::vector<char> other(1 << 20);
  EXPECT_FALSE(GiveWarmBlock(other.data()));
  EXPECT_FALSE(GiveWarmBlock(nullptr));
  EXPECT_FALSE(GiveWarmBlock(reinterpret_cast<void*>(UINTPTR_MAX)));
}

// Each writes its blocks full and looks whether they stay so; half of them are given by another thread.
TEST_F(WarmBlocks, ThreadsDoNotDisturbEachOther) {
  constexpr int kThreads = 8, kRounds = 2000;
  std::atomic<void*> handed_over = nullptr;
  std::atomic<int> taken = 0, disturbed = 0;
  const auto work = [&](int number) {
    const WarmBlockScope warm;
    for (int round = 0; round < kRounds; ++round) {
      const size_t words = kSmallestWarmBlock / sizeof(uint64_t) * static_cast<size_t>(1 + (number + round) % 4);
      auto* const block = static_cast<uint64_t*>(TakeWarmBlock(words * sizeof(uint64_t)));
      if (block == nullptr) continue;
      ++taken;
      const uint64_t mark = static_cast<uint64_t>(number) << 32 | static_cast<uint64_t>(round);
      for (size_t i = 0; i < words; i += 512) block[i] = mark;
      std::this_thread::yield();
      for (size_t i = 0; i < words; i += 512) disturbed += block[i] == mark ? 0 : 1;
      void* const give = round % 2 == 0 ? block : handed_over.exchange(block);
      if (give != nullptr && !GiveWarmBlock(give)) ++disturbed;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
  if (handed_over != nullptr) {
    EXPECT_TRUE(GiveWarmBlock(handed_over));
  }
  EXPECT_GT(taken.load(), kThreads * kRounds / 2);
  EXPECT_EQ(disturbed.load(), 0);
  const WarmBlockScope warm;
  EXPECT_EQ(TakeAll(kLargestWarmBlock), 4) << "all came back";
}

}  // namespace
}  // namespace fedglm
