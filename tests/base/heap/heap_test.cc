// This program's operators new and delete are those of base/heap.
#include "base/heap/heap.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/memory.h"
#include "base/warm_blocks.h"

namespace fedglm {
namespace {

constexpr size_t kBytes = 2 << 20;

// Of the kernel's fresh pages, for a string that grows as a parser's does.
int64_t FreshPages() {
  rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  std::string text;
  while (text.size() < kBytes) text.push_back('x');
  getrusage(RUSAGE_SELF, &after);
  EXPECT_EQ(text.back(), 'x');
  return after.ru_minflt - before.ru_minflt;
}

TEST(Heap, ALargeBlockIsWarmWhereThatIsAskedFor) {
  KeepHeapCompact();
  ASSERT_TRUE(KeepBlocksWarm());
  EXPECT_GT(FreshPages(), 500);
  {
    const WarmBlockScope warm;
    EXPECT_LT(FreshPages(), 50);
  }
  EXPECT_GT(FreshPages(), 500);
}

TEST(Heap, AnyThreadFreesAnyBlock) {
  ASSERT_TRUE(KeepBlocksWarm());
  std::unique_ptr<std::string> warm;
  {
    const WarmBlockScope scope;
    for (int i = 0; i < 100; ++i) {
      warm = std::make_unique<std::string>(kBytes, 'w');
      std::thread([text = std::move(warm)] { EXPECT_EQ(text->size(), kBytes); }).join();
    }
    EXPECT_LT(FreshPages(), 50) << "those that were freed elsewhere are here again";
    warm = std::make_unique<std::string>(kBytes, 'w');
  }
  warm->reserve(4 * kBytes);
  EXPECT_EQ(*warm, std::string(kBytes, 'w'));
}

TEST(Heap, WhatIsFreedBelowAUsedBlockGoesBackWhenAskedFor) {
  constexpr size_t kBlocks = 1000, kBlockBytes = 32 << 10;
  std::vector<std::unique_ptr<std::string>> blocks;
  for (size_t i = 0; i < kBlocks; ++i) blocks.push_back(std::make_unique<std::string>(kBlockBytes, 'h'));
  for (size_t i = 0; i + 1 < kBlocks; ++i) blocks[i] = nullptr;
  const uint64_t held = CurrentAnonymousBytes();
  ASSERT_GT(held, kBlocks * kBlockBytes);
  ReturnFreedMemory();
  EXPECT_LT(CurrentAnonymousBytes(), held - kBlocks * kBlockBytes / 2);
  EXPECT_EQ(*blocks.back(), std::string(kBlockBytes, 'h'));
}

TEST(Heap, AnImpossibleSizeIsAnException) {
  volatile size_t bytes = SIZE_MAX / 2;  // which the compiler must not see
  EXPECT_THROW((void)::operator new(bytes), std::bad_alloc);
}

}  // namespace
}  // namespace fedglm
