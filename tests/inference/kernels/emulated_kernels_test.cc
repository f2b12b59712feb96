// The loops for AVX-512 VNNI, AVX-512 BF16 and AMX against the scalar reference on any machine: over intrinsics in
// plain C++. (kernels_test.cc runs the real instructions where the machine has them.)
#include "tests/inference/kernels/emulated_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "inference/kernels/x86/amx_permission.h"
#include "inference/quantization/blocks.h"
#include "inference/quantization/codec.h"
#include "inference/quantization/half.h"

namespace fedglm {
namespace {

using Random = std::mt19937;

int64_t Between(int64_t low, int64_t high, Random& random) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

// Any bytes are a valid block, but its half-precision scales must be finite; here they are in ±[0.5, 1].
template <typename Block>
void SetScales(std::byte* at, Random& random) {
  const auto scale = [&] {
    const float magnitude = std::uniform_real_distribution<float>(0.5f, 1.0f)(random);
    return FloatToHalf(random() % 2 == 0 ? magnitude : -magnitude);
  };
  Block block;
  std::memcpy(&block, at, sizeof(block));
  block.scale = scale();
  if constexpr (requires { block.minimum; }) block.minimum = scale();
  std::memcpy(at, &block, sizeof(block));
}

struct QuantizedType {
  BlockType type;
  void (*set_scales)(std::byte* block, Random& random);
};
constexpr QuantizedType kTypes[] = {
    {BlockType::kQ4_0, SetScales<BlockQ4_0>}, {BlockType::kQ4_1, SetScales<BlockQ4_1>},
    {BlockType::kQ5_0, SetScales<BlockQ5_0>}, {BlockType::kQ5_1, SetScales<BlockQ5_1>},
    {BlockType::kQ8_0, SetScales<BlockQ8_0>}, {BlockType::kIQ4_NL, SetScales<BlockIQ4_NL>},
    {BlockType::kQ2_K, SetScales<BlockQ2_K>}, {BlockType::kQ3_K, SetScales<BlockQ3_K>},
    {BlockType::kQ4_K, SetScales<BlockQ4_K>}, {BlockType::kQ5_K, SetScales<BlockQ5_K>},
    {BlockType::kQ6_K, SetScales<BlockQ6_K>}, {BlockType::kIQ4_XS, SetScales<BlockIQ4_XS>}};

// Rows of random blocks, or of blocks that are one byte all over, such as the ends of every range.
std::vector<std::byte> Blocks(const QuantizedType& type, int64_t rows, int64_t columns, Random& random) {
  std::vector<std::byte> blocks(static_cast<size_t>(rows * RowBytes(type.type, columns)));
  constexpr uint8_t kEnds[] = {0x00, 0x7F, 0x80, 0xFF};
  const bool uniform = random() % 3 == 0;
  const auto fill = static_cast<std::byte>(kEnds[random() % 4]);
  for (std::byte& b : blocks) b = uniform ? fill : static_cast<std::byte>(random());
  const size_t block_bytes = static_cast<size_t>(FactsOf(type.type).bytes_per_block);
  for (size_t at = 0; at < blocks.size(); at += block_bytes) type.set_scales(blocks.data() + at, random);
  return blocks;
}

// Rows of activations as QuantizedRows makes them, and the magnitudes of the floats that they stand for.
struct Activations {
  Activations(int64_t tokens, int64_t columns, Random& random) {
    std::vector<float> x(static_cast<size_t>(tokens * columns));
    values.resize(x.size()), wide.resize(x.size()), magnitudes.resize(x.size());
    scales.resize(x.size() / 32), block_sums.resize(x.size() / 32), half_sums.resize(x.size() / 16);
    view = {columns, values.data(), wide.data(), scales.data(), block_sums.data(), half_sums.data()};
    std::normal_distribution<float> normal;
    const bool largest = random() % 3 == 0;  // all at the ends of their range
    for (float& v : x) v = largest ? (random() % 8 == 0 ? -1.0f : 1.0f) : normal(random);
    std::fill_n(x.begin(), 32, 0.0f);  // a block without a scale
    const ProductKernels& scalar = kScalarProducts;
    for (int64_t t = 0; t < tokens; ++t) {
      scalar.quantize_row(x.data() + t * columns, columns, values.data() + t * columns, wide.data() + t * columns,
                          scales.data() + t * columns / 32, block_sums.data() + t * columns / 32,
                          half_sums.data() + t * columns / 16);
    }
    for (size_t i = 0; i < x.size(); ++i) magnitudes[i] = std::fabs(x[i]);
  }

  std::vector<int8_t> values;
  std::vector<int16_t> wide;
  std::vector<float> scales, block_sums, half_sums, magnitudes;
  ActivationView view;
};

struct Emulated {
  const char* name;
  MultiplyLevelsFunction (*multiply_levels)();
};

class EmulatedKernels : public testing::TestWithParam<Emulated> {};

TEST_P(EmulatedKernels, MultiplyAsTheScalarReferenceDoes) {
  const MultiplyLevelsFunction multiply = GetParam().multiply_levels();
  for (const QuantizedType& type : kTypes) {
    const int64_t block = FactsOf(type.type).weights_per_block;
    for (unsigned seed = 1; seed <= 24; ++seed) {
      Random random(seed);
      const int64_t rows = Between(1, kLevelTileRows, random), tokens = Between(1, 40, random);
      const int64_t columns = block * Between(1, 1536 / block, random), stride = rows + Between(0, 3, random);
      SCOPED_TRACE(testing::Message() << FactsOf(type.type).name << ", seed " << seed << ": " << rows << " rows of "
                                      << columns << ", " << tokens << " tokens");
      const std::vector<std::byte> blocks = Blocks(type, rows, columns, random);
      const Activations x(tokens, columns, random);
      const int64_t row_bytes = RowBytes(type.type, columns);
      // NaN is no result, and must still stand where no result belongs.
      std::vector<float> y(static_cast<size_t>(tokens * stride), NAN), expected = y;
      kScalarProducts.multiply_levels(type.type, blocks.data(), row_bytes, rows, x.view, tokens, expected.data(),
                                      stride);
      multiply(type.type, blocks.data(), row_bytes, rows, x.view, tokens, y.data(), stride);
      std::vector<float> weights(static_cast<size_t>(columns));
      for (int64_t r = 0; r < stride; ++r) {
        if (r < rows) DecodeRow(type.type, blocks.data() + r * row_bytes, weights.data(), columns);
        for (int64_t t = 0; t < tokens; ++t) {
          const size_t at = static_cast<size_t>(t * stride + r);
          if (r >= rows) {
            ASSERT_TRUE(std::isnan(y[at])) << "written beyond the rows, token " << t;
            continue;
          }
          double magnitude = 0;
          for (int64_t c = 0; c < columns; ++c) magnitude += std::fabs(weights[c]) * x.magnitudes[t * columns + c];
          ASSERT_NEAR(y[at], expected[at], 4e-6 * magnitude) << "row " << r << ", token " << t;
        }
      }
    }
  }
}

TEST(EmulatedAvx512Vnni, DotsRowsAsTheScalarReferenceDoes) {
  for (const QuantizedType& type : kTypes) {
    const bool by_four = type.type == BlockType::kQ4_0 || type.type == BlockType::kQ4_1;
    const bool by_one = type.type == BlockType::kQ4_K || type.type == BlockType::kQ5_K || type.type == BlockType::kQ6_K;
    const int64_t block = FactsOf(type.type).weights_per_block;
    for (unsigned seed = 1; seed <= (by_four || by_one ? 100 : 1); ++seed) {
      Random random(seed);
      const int64_t rows = Between(0, 20, random), columns = block * Between(1, 1536 / block, random);
      SCOPED_TRACE(testing::Message() << FactsOf(type.type).name << ", seed " << seed << ": " << rows << " rows of "
                                      << columns);
      const std::vector<std::byte> blocks =
          Blocks(type, rows, columns, random);  // no more: the sanitizer sees a read beyond
      const Activations x(1, columns, random);
      const int64_t row_bytes = RowBytes(type.type, columns);
      std::vector<float> y(static_cast<size_t>(rows), NAN), expected = y, weights(static_cast<size_t>(columns));
      kScalarProducts.dot_rows(type.type, blocks.data(), row_bytes, rows, x.view, expected.data());
      const int64_t done = EmulatedAvx512VnniDot(type.type, blocks.data(), row_bytes, rows, x.view, y.data());
      ASSERT_EQ(done, by_four ? rows / 4 * 4 : by_one ? rows : 0);
      for (int64_t r = 0; r < rows; ++r) {
        if (r >= done) {
          ASSERT_TRUE(std::isnan(y[r])) << "written though it was not done, row " << r;
          continue;
        }
        DecodeRow(type.type, blocks.data() + r * row_bytes, weights.data(), columns);
        double magnitude = 0;
        for (int64_t c = 0; c < columns; ++c) magnitude += std::fabs(weights[c]) * x.magnitudes[c];
        ASSERT_NEAR(y[r], expected[r], 4e-6 * magnitude) << "row " << r;
      }
    }
  }
}

TEST(EmulatedAvx512Bf16, MultipliesWithTheErrorOfFloat32) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    const int64_t rows = Between(1, 20, random), tokens = Between(1, 60, random), columns = Between(1, 200, random);
    const int64_t stride = rows + Between(0, 3, random);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << rows << " rows of " << columns << ", " << tokens
                                    << " tokens");
    std::normal_distribution<float> normal;
    std::vector<float> weights(static_cast<size_t>(rows * columns)), x(static_cast<size_t>(tokens * columns));
    for (float& v : weights) v = normal(random);
    for (float& v : x) v = normal(random) * std::ldexp(1.0f, static_cast<int>(Between(-12, 12, random)));
    std::vector<std::byte> blocks(2 * weights.size());  // no more: the sanitizer sees a read beyond
    for (int64_t r = 0; r < rows; ++r) {
      ASSERT_TRUE(
          EncodeRow(BlockType::kBF16, weights.data() + r * columns, blocks.data() + 2 * r * columns, columns).ok());
      DecodeRow(BlockType::kBF16, blocks.data() + 2 * r * columns, weights.data() + r * columns, columns);
    }
    std::vector<float> y(static_cast<size_t>(tokens * stride), NAN);
    EmulatedAvx512Bf16()(blocks.data(), rows, columns, x.data(), tokens, y.data(), stride);
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t r = 0; r < rows; ++r) {
        double sum = 0, magnitude = 0;
        for (int64_t c = 0; c < columns; ++c) {
          const double term = static_cast<double>(weights[r * columns + c]) * x[t * columns + c];
          sum += term;
          magnitude += std::fabs(term);
        }
        ASSERT_NEAR(y[t * stride + r], sum, 8e-6 * magnitude) << "row " << r << ", token " << t;
      }
      for (int64_t r = rows; r < stride; ++r) ASSERT_TRUE(std::isnan(y[t * stride + r])) << "written beyond the rows";
    }
  }
}

TEST(EmulatedAmx, GivesItsTileRegistersBack) {
  Random random(1);
  const QuantizedType& type = kTypes[0];
  const std::vector<std::byte> blocks = Blocks(type, 1, 32, random);
  const Activations x(4, 32, random);
  float y[4];
  EmulatedAmx()(type.type, blocks.data(), RowBytes(type.type, 32), 1, x.view, 4, y, 1);
  EXPECT_TRUE(EmulatedTilesReleased());
}

INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedKernels,
                         testing::Values(Emulated{"avx512vnni", EmulatedAvx512Vnni}, Emulated{"amx", EmulatedAmx}),
                         [](const auto& info) { return std::string(info.param.name); });

#if defined(__x86_64__)
// Linux lists what the CPU has; what it does not list must not be used.
TEST(AmxPermission, IsNotGivenWithoutTheInstructions) {
  std::ifstream file("/proc/cpuinfo");
  if (!file) GTEST_SKIP() << "no /proc/cpuinfo here";
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.find(" amx_tile") == std::string::npos || text.find(" amx_int8") == std::string::npos) {
    EXPECT_FALSE(AmxInt8Permitted());
  }
}
#endif

}  // namespace
}  // namespace fedglm
