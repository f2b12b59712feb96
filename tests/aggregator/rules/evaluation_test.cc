#include "aggregator/rules/evaluation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace fedglm {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 31;

TEST(SiteLoss, HasARange) {
  for (const double loss : {0.0, 2.5, 1000.0}) EXPECT_EQ(FaultOf(SiteLoss{loss, 1}), "");
  for (const double loss : {-0.1, 1000.1, 1e300, double{INFINITY}, -double{INFINITY}, std::nan("")}) {
    EXPECT_NE(FaultOf(SiteLoss{loss, 1}).find("0 to 1000"), std::string::npos) << loss;
  }
  EXPECT_EQ(FaultOf(SiteLoss{1, kMostTokens}), "");
  for (const int64_t tokens : {int64_t{0}, int64_t{-1}, kMostTokens + 1, std::numeric_limits<int64_t>::max()}) {
    EXPECT_NE(FaultOf(SiteLoss{1, tokens}).find("tokens"), std::string::npos) << tokens;
  }
}

TEST(MeanLoss, IsByTokensAndNoSiteSetsIt) {
  EXPECT_EQ(MeanLoss({}, 0.5), 0);
  EXPECT_DOUBLE_EQ(MeanLoss({{1, 100}, {3, 300}, {2, 200}}, 1), (100 + 900 + 400) / 600.0);
  // 100 tokens at 2 against as many at 0.
  EXPECT_DOUBLE_EQ(MeanLoss({{2, 50}, {2, 50}, {0, kMostTokens}}, 0.5), 1);
  EXPECT_DOUBLE_EQ(MeanLoss({{5, kMostTokens}, {5, kMostTokens}}, 0.5), 5);
}

}  // namespace
}  // namespace fedglm
