#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "adapter/adapter.h"
#include "base/digest.h"

namespace fedglm {
namespace {

const char kQuery[] = "model.layers.0.self_attn.q_proj";
const char kDown[] = "model.layers.1.mlp.down_proj";

AdapterConfig OfRank(int64_t rank) {
  AdapterConfig config;
  config.rank = rank;
  return config;
}

const Matrix& FactorA(const Adapter& adapter, const char* module) { return adapter.modules.at(module).a; }

std::string DigestOf(const Matrix& matrix) {
  return Sha256Hex({reinterpret_cast<const char*>(matrix.values.data()), matrix.values.size() * sizeof(float)});
}

// The digests are of the little-endian float32 bytes that a Python program of its own makes from the description:
// stream = mix(seed · φ + fnv1a(name)); value i = √(3 / inputs) · (the top 24 bits of mix(stream + (i + 1) · φ), times
// 2⁻²³, − 1); each operation rounded to float32, with φ = 0x9E3779B97F4A7C15 and SplitMix64's finalizer as mix.
TEST(SeededAdapter, IsTheSameOnEveryMachine) {
  const Adapter small = MakeSeededAdapter(OfRank(4), {{kQuery, 48, 16}}, 42);
  EXPECT_EQ(FactorA(small, kQuery).values[0], -0.048565030097961426f);
  EXPECT_EQ(FactorA(small, kQuery).values[1], 0.0759781002998352f);
  EXPECT_EQ(FactorA(small, kQuery).values[2], 0.21640503406524658f);
  EXPECT_EQ(DigestOf(FactorA(small, kQuery)), "bd9c5dbe82a920b12e02e8b1754d207bdea645f0a24fc971dd82745ce6164a68");
  const Adapter large_seed = MakeSeededAdapter(OfRank(8), {{kDown, 100, 16}}, (uint64_t{1} << 63) + 5);
  EXPECT_EQ(DigestOf(FactorA(large_seed, kDown)), "75a1f6682c554f41dd7ceeaeb502994ccfb2da8744f671e35d20a174e9482985");
}

TEST(SeededAdapter, HasTheShapesZeroBAndTheTargets) {
  AdapterConfig config = OfRank(4);
  config.alpha = 12;
  config.base_model = "base";
  const Adapter adapter = MakeSeededAdapter(config, {{kQuery, 48, 16}, {kDown, 20, 30}}, 1);
  ASSERT_EQ(adapter.modules.size(), 2u);
  EXPECT_EQ(FactorA(adapter, kDown).rows, 4);
  EXPECT_EQ(FactorA(adapter, kDown).columns, 20);
  EXPECT_EQ(adapter.modules.at(kDown).b, Matrix::Zero(30, 4));
  EXPECT_EQ(adapter.config.target_modules, (std::vector<std::string>{"down_proj", "q_proj"}));
  EXPECT_EQ(adapter.config.alpha, 12);
  EXPECT_EQ(adapter.config.base_model, "base");
  EXPECT_FALSE(adapter.provenance.has_value());
}

TEST(SeededAdapter, AModulesNumbersDependOnItsNameAndTheSeedOnly) {
  const Adapter alone = MakeSeededAdapter(OfRank(4), {{kQuery, 48, 16}}, 7);
  const Adapter with_others = MakeSeededAdapter(OfRank(4), {{kDown, 48, 16}, {kQuery, 48, 99}, {"lm_head", 5, 5}}, 7);
  EXPECT_EQ(FactorA(alone, kQuery), FactorA(with_others, kQuery));
  EXPECT_NE(FactorA(with_others, kDown), FactorA(with_others, kQuery));
  EXPECT_NE(FactorA(alone, kQuery), FactorA(MakeSeededAdapter(OfRank(4), {{kQuery, 48, 16}}, 8), kQuery));
}

TEST(SeededAdapter, IsUniformWithVarianceOneOverInputs) {
  for (const int64_t inputs : {1, 64, 4096}) {
    const int64_t rank = 65536 / inputs;
    const Adapter adapter = MakeSeededAdapter(OfRank(rank), {{kQuery, inputs, 1}}, 3);
    const std::vector<float>& values = FactorA(adapter, kQuery).values;
    const double bound = std::sqrt(3.0 / static_cast<double>(inputs)), n = static_cast<double>(values.size());
    double sum = 0, squares = 0;
    int quarters[4] = {};
    for (const float value : values) {
      ASSERT_LE(std::abs(value), bound * (1 + 1e-6));
      sum += value;
      squares += static_cast<double>(value) * value;
      ++quarters[std::min(3, static_cast<int>((value / bound + 1) * 2))];
    }
    // Five standard deviations of each statistic, for numbers that are what they should be.
    EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(static_cast<double>(inputs) * n));
    EXPECT_NEAR(squares / n * static_cast<double>(inputs), 1, 5 * std::sqrt(0.8 / n));
    for (const int count : quarters) EXPECT_NEAR(count, n / 4, 5 * std::sqrt(n * 3 / 16));
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    EXPECT_LT(*low, -0.999 * bound);
    EXPECT_GT(*high, 0.999 * bound);
  }
}

}  // namespace
}  // namespace fedglm
