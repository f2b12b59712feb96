#include "inference/cache/prefix_tree.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

namespace fedglm {
namespace {

constexpr KvFormat kFormat = KvFormat::kFloat32;
constexpr PrefixOwner kBase{0, kFormat};

// `count` tokens from `first` on.
std::vector<Token> Tokens(Token first, int64_t count) {
  std::vector<Token> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

std::vector<Token> operator+(std::vector<Token> a, const std::vector<Token>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class PrefixTreeTest : public testing::Test {
 protected:
  // A sequence that computed these tokens: each position's first byte is its token's.
  SequenceCache Computed(const std::vector<Token>& tokens) {
    SequenceCache cache(pool_, kFormat);
    EXPECT_TRUE(cache.Reserve(static_cast<int64_t>(tokens.size())).ok());
    for (size_t i = 0; i < tokens.size(); ++i) Mark(cache, static_cast<int64_t>(i), tokens[i]);
    cache.Advance(static_cast<int64_t>(tokens.size()));
    return cache;
  }
  void Mark(SequenceCache& cache, int64_t position, Token token) {
    cache.Keys(0, 0, position / kPageTokens)[position % kPageTokens * RowBytes()] = static_cast<std::byte>(token);
  }
  int Marked(const SequenceCache& cache, int64_t position) {
    return static_cast<int>(cache.Keys(0, 0, position / kPageTokens)[position % kPageTokens * RowBytes()]);
  }
  int64_t RowBytes() const { return pool_.layout().RowBytes(kFormat); }

  void Keep(const PrefixOwner& owner, const std::vector<Token>& tokens) {
    SequenceCache cache = Computed(tokens);
    tree_.Insert(owner, tokens, cache, true);
  }
  int64_t Found(const PrefixOwner& owner, const std::vector<Token>& tokens) {
    SequenceCache cache(pool_, owner.format);
    return tree_.Lookup(owner, tokens, cache);
  }

  MemoryBudget budget_{1 << 20};
  PagePool pool_{KvLayout{1, 1, 8}, budget_};
  PrefixTree tree_{pool_};
};

TEST_F(PrefixTreeTest, FindsWholePagesAndTheBeginningOfOne) {
  Keep(kBase, Tokens(0, 80));
  EXPECT_EQ(Found(kBase, Tokens(0, 80) + Tokens(7, 1)), 80);
  EXPECT_EQ(Found(kBase, Tokens(0, 70) + Tokens(0, 50)), 70);
  EXPECT_EQ(Found(kBase, Tokens(0, 40)), 39) << "the last token is left to compute";
  EXPECT_EQ(Found(kBase, Tokens(0, 64)), 63);
  EXPECT_EQ(Found(kBase, Tokens(0, 65)), 64);
  EXPECT_EQ(Found(kBase, Tokens(0, 1)), 0);
  EXPECT_EQ(Found(kBase, Tokens(1, 80)), 0);
}

TEST_F(PrefixTreeTest, GivesNothingOfAnotherAdapterOrFormat) {
  Keep({1, kFormat}, Tokens(0, 80));
  EXPECT_EQ(Found({1, kFormat}, Tokens(0, 81)), 80);
  EXPECT_EQ(Found(kBase, Tokens(0, 81)), 0);
  EXPECT_EQ(Found({2, kFormat}, Tokens(0, 81)), 0);
  EXPECT_EQ(Found({1, KvFormat::kQ8_0}, Tokens(0, 81)), 0);
}

TEST_F(PrefixTreeTest, WhoGoesOnInTheMiddleOfAPageGetsACopy) {
  Keep(kBase, Tokens(0, 50));
  const std::vector<Token> other = Tokens(0, 40) + Tokens(100, 20);
  SequenceCache cache(pool_, kFormat);
  ASSERT_EQ(tree_.Lookup(kBase, other, cache), 40);
  ASSERT_TRUE(cache.Reserve(1).ok());
  EXPECT_EQ(Marked(cache, 39), 39);
  Mark(cache, 40, 100);
  cache.Advance(1);
  SequenceCache first(pool_, kFormat);
  ASSERT_EQ(tree_.Lookup(kBase, Tokens(0, 51), first), 50);
  EXPECT_EQ(Marked(first, 40), 40) << "the other sequence wrote into a page that is kept";
  EXPECT_EQ(first.Page(0), cache.Page(0));
  EXPECT_NE(first.Page(1), cache.Page(1));
}

TEST_F(PrefixTreeTest, TheSamePageIsKeptOnce) {
  const std::vector<Token> tokens = Tokens(0, 64);
  SequenceCache one = Computed(tokens), two = Computed(tokens);
  EXPECT_EQ(pool_.allocated(), 4);
  tree_.Insert(kBase, tokens, one, true);
  tree_.Insert(kBase, tokens, two, true);
  EXPECT_EQ(one.Page(0), two.Page(0));
  EXPECT_EQ(pool_.allocated(), 2);
  // What is the beginning of a longer page is not kept beside it.
  Keep(kBase, Tokens(0, 70));
  Keep(kBase, Tokens(0, 75));
  Keep(kBase, Tokens(0, 72));
  EXPECT_EQ(pool_.allocated(), 3);
  EXPECT_EQ(Found(kBase, Tokens(0, 80)), 75);
}

TEST_F(PrefixTreeTest, EvictsTheLeastRecentlyUsedThatNobodyUses) {
  Keep(kBase, Tokens(0, 64));
  Keep(kBase, Tokens(100, 64));
  Keep(kBase, Tokens(200, 32));
  EXPECT_EQ(Found(kBase, Tokens(0, 65)), 64);  // used just now
  SequenceCache running(pool_, kFormat);
  ASSERT_EQ(tree_.Lookup(kBase, Tokens(100, 33), running), 32);
  EXPECT_EQ(pool_.in_use(), 1);
  EXPECT_EQ(pool_.idle(), 4);
  // The second page at 100, then 200; then the pages at 0, from the end. The first at 100 is in use.
  ASSERT_TRUE(tree_.EvictOne());
  EXPECT_EQ(Found(kBase, Tokens(100, 65)), 32);
  ASSERT_TRUE(tree_.EvictOne());
  EXPECT_EQ(Found(kBase, Tokens(200, 33)), 0);
  ASSERT_TRUE(tree_.EvictOne());
  EXPECT_EQ(Found(kBase, Tokens(0, 65)), 32);
  ASSERT_TRUE(tree_.EvictOne());
  EXPECT_FALSE(tree_.EvictOne());
  EXPECT_EQ(pool_.allocated(), 1);
  running.Clear();
  EXPECT_TRUE(tree_.EvictOne());
  EXPECT_EQ(pool_.allocated(), 0);
  EXPECT_EQ(budget_.used(), 0u);
}

TEST_F(PrefixTreeTest, ForgetsAnAdapterThatIsGone) {
  Keep({1, kFormat}, Tokens(0, 100));
  Keep({2, kFormat}, Tokens(0, 64));
  tree_.Forget(1);
  EXPECT_EQ(pool_.allocated(), 2);
  EXPECT_EQ(Found({1, kFormat}, Tokens(0, 100)), 0);
  EXPECT_EQ(Found({2, kFormat}, Tokens(0, 65)), 64);
}

TEST_F(PrefixTreeTest, ASequenceGoesOnFromWhatAnotherHasComputedMeanwhile) {
  const std::vector<Token> tokens = Tokens(0, 100);
  SequenceCache late = Computed(Tokens(0, 32));
  tree_.Insert(kBase, tokens, late, false);
  SequenceCache early = Computed(Tokens(0, 96));
  tree_.Insert(kBase, tokens, early, false);
  EXPECT_EQ(tree_.Lookup(kBase, tokens, late), 64);
  EXPECT_EQ(late.length(), 96);
  EXPECT_EQ(late.Page(2), early.Page(2));
}

TEST(PagePool, IsChargedToTheBudgetAndSaysWhatIsLeft) {
  const KvLayout layout{2, 1, 8};
  const auto page = static_cast<uint64_t>(layout.PageBytes(KvFormat::kFloat16));
  MemoryBudget budget(3 * page + 100);
  PagePool pool(layout, budget);
  SequenceCache cache(pool, KvFormat::kFloat16);
  EXPECT_EQ(pool.Room(KvFormat::kFloat16), 3);
  ASSERT_TRUE(cache.Reserve(2 * kPageTokens).ok());
  EXPECT_EQ(budget.used(MemoryAccount::kKvPages), 2 * page);
  EXPECT_EQ(pool.Room(KvFormat::kFloat16), 1);
  EXPECT_EQ(pool.Room(KvFormat::kFloat32), 0);
  EXPECT_EQ(cache.Reserve(3 * kPageTokens + 1).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(pool.in_use(), 3);
  cache.Clear();
  EXPECT_EQ(pool.allocated(), 0);
  EXPECT_EQ(budget.used(), 0u);
}

TEST(KvLayout, TilesCoverAPageWithoutOverlap) {
  const KvLayout layout{3, 2, 80};
  for (const KvFormat format : {KvFormat::kFloat32, KvFormat::kFloat16, KvFormat::kQ8_0}) {
    int64_t next = 0;
    for (int64_t layer = 0; layer < 3; ++layer) {
      for (int64_t head = 0; head < 2; ++head, next += layout.TileBytes(format)) {
        EXPECT_EQ(layout.KeyOffset(format, layer, head), next);
      }
      for (int64_t head = 0; head < 2; ++head, next += layout.TileBytes(format)) {
        EXPECT_EQ(layout.ValueOffset(format, layer, head), next);
      }
    }
    EXPECT_EQ(layout.PageBytes(format), next);
  }
  EXPECT_EQ(layout.RowBytes(KvFormat::kQ8_0), 3 * 34);
}

}  // namespace
}  // namespace fedglm
