#include "inference/kernels/kernels.h"

#include <cmath>
#include <cstring>
#include <random>

#include "gtest/gtest.h"
#include "inference/kernels/instruction_sets.h"
#include "inference/quantization/codec.h"

namespace fedglm {
namespace {

constexpr BlockType kTypes[] = {BlockType::kF32,  BlockType::kF16,    BlockType::kBF16,  BlockType::kQ8_0,
                                BlockType::kQ4_0, BlockType::kQ4_1,   BlockType::kQ5_0,  BlockType::kQ5_1,
                                BlockType::kQ2_K, BlockType::kQ3_K,   BlockType::kQ4_K,  BlockType::kQ5_K,
                                BlockType::kQ6_K, BlockType::kIQ4_NL, BlockType::kIQ4_XS};

// A matrix of a type with its decoded weights.
struct TestMatrix {
  std::vector<std::byte> blocks;
  std::vector<float> decoded;
  WeightMatrix view;

  TestMatrix(BlockType type, int64_t rows, int64_t columns, std::mt19937& random) {
    blocks.resize(static_cast<size_t>(RowBytes(type, columns) * rows));
    std::normal_distribution<float> normal;
    std::vector<float> row(static_cast<size_t>(columns));
    for (int64_t r = 0; r < rows; ++r) {
      for (float& w : row) w = normal(random);
      EXPECT_TRUE(EncodeRow(type, row.data(), blocks.data() + r * RowBytes(type, columns), columns).ok());
    }
    decoded.resize(static_cast<size_t>(rows * columns));
    view = {type, blocks.data(), rows, columns};
    for (int64_t r = 0; r < rows; ++r) DecodeRow(type, view.Row(r), decoded.data() + r * columns, columns);
  }
};

struct Shape {
  int64_t rows, columns, tokens;
};
constexpr Shape kShapes[] = {{1, 256, 1},   {7, 256, 2},   {33, 512, 5}, {64, 256, 33},
                             {130, 768, 1}, {5, 2304, 13}, {70, 256, 60}};

class EveryInstructionSet : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    before_ = InstructionSet();
    ASSERT_TRUE(SelectInstructionSet(GetParam()).ok());
  }
  void TearDown() override { ASSERT_TRUE(SelectInstructionSet(before_).ok()); }
  std::string_view before_;
};

TEST_P(EveryInstructionSet, DecodesToTheReferencesBits) {
  std::mt19937 random(1);
  for (const BlockType type : kTypes) {
    const TestMatrix matrix(type, 3, 768, random);
    std::vector<float> row(768);
    for (int64_t r = 0; r < 3; ++r) {
      DecodeRowFast(matrix.view, r, row.data());
      EXPECT_EQ(std::memcmp(row.data(), matrix.decoded.data() + r * 768, row.size() * sizeof(float)), 0)
          << FactsOf(type).name;
    }
  }
}

TEST_P(EveryInstructionSet, MatMulEqualsSumsInDoublePrecision) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (const BlockType type : kTypes) {
      for (const auto& [rows, columns, tokens] : kShapes) {
        const TestMatrix matrix(type, rows, columns, random);
        std::vector<float> x(static_cast<size_t>(tokens * columns)), y(static_cast<size_t>(tokens * rows), NAN);
        for (float& v : x) v = normal(random);
        MatMul(matrix.view, x.data(), tokens, y.data(), pool);
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t r = 0; r < rows; ++r) {
            double sum = 0, magnitude = 0;
            for (int64_t c = 0; c < columns; ++c) {
              const double term = static_cast<double>(matrix.decoded[r * columns + c]) * x[t * columns + c];
              sum += term;
              magnitude += std::fabs(term);
            }
            ASSERT_NEAR(y[t * rows + r], sum, 4e-6 * magnitude) << FactsOf(type).name << " " << rows << "x" << columns;
          }
        }
      }
    }
  }
}

bool IsSigned(BlockType type) {
  return type == BlockType::kQ8_0 || type == BlockType::kIQ4_NL || type == BlockType::kIQ4_XS;
}

// y of quantized activations, by the reference in double precision over the same integers (8 bits, 16 for signed
// levels) and decoded weights.
std::vector<double> IntegerReference(const TestMatrix& matrix, const std::vector<float>& x, int64_t tokens,
                                     std::vector<double>& magnitudes) {
  const int64_t rows = matrix.view.rows, columns = matrix.view.columns;
  std::vector<double> inputs(x.size()), y(static_cast<size_t>(tokens * rows));
  magnitudes.assign(y.size(), 1e-12);
  for (size_t block = 0; block < x.size(); block += 32) {
    float largest = 0;
    for (size_t i = block; i < block + 32; ++i) largest = std::max(largest, std::fabs(x[i]));
    for (size_t i = block; i < block + 32 && largest > 0; ++i) {
      const float steps = IsSigned(matrix.view.type) ? 256.0f : 1.0f;
      inputs[i] = std::nearbyint(x[i] * (127.0f / largest) * steps) * static_cast<double>(largest / 127.0f) / steps;
    }
  }
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const double term = static_cast<double>(matrix.decoded[r * columns + c]) * inputs[t * columns + c];
        y[t * rows + r] += term;
        magnitudes[t * rows + r] += std::fabs(term);
      }
    }
  }
  return y;
}

TEST_P(EveryInstructionSet, QuantizedMatMulIsExactOnEightBitActivations) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  // Rows that fill no group or tile, columns beyond one tile, and every way to group tokens.
  constexpr Shape kQuantizedShapes[] = {{1, 256, 1},    {7, 512, 2},   {33, 768, 3}, {64, 256, 4},
                                        {130, 1280, 5}, {31, 2304, 8}, {17, 256, 39}};
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (const BlockType type : kTypes) {
      if (type == BlockType::kF32 || type == BlockType::kF16 || type == BlockType::kBF16) continue;  // not quantized
      for (const auto& [rows, columns, tokens] : kQuantizedShapes) {
        const TestMatrix matrix(type, rows, columns, random);
        std::vector<float> x(static_cast<size_t>(tokens * columns)), y(static_cast<size_t>(tokens * rows), NAN);
        for (float& v : x) v = normal(random) * (random() % 50 == 0 ? 20.0f : 1.0f);
        std::fill_n(x.begin(), 32, 0.0f);  // a block without a scale
        std::vector<double> magnitudes;
        const std::vector<double> expected = IntegerReference(matrix, x, tokens, magnitudes);
        QuantizedRows quantized;
        quantized.Assign(x.data(), tokens, columns, pool);
        MatMul(matrix.view, quantized, y.data(), pool);
        for (size_t i = 0; i < y.size(); ++i) {
          ASSERT_NEAR(y[i], expected[i], 8e-6 * magnitudes[i])
              << FactsOf(type).name << " " << rows << "x" << columns << " output " << i;
        }
      }
    }
  }
}

TEST_P(EveryInstructionSet, ExtremeLevelsAndActivationsDoNotOverflow) {
  ThreadPool pool(1);
  const int64_t columns = 512, rows = 32;
  for (const BlockType type : kTypes) {
    if (type == BlockType::kF32 || type == BlockType::kF16 || type == BlockType::kBF16) continue;
    std::mt19937 random(6);
    for (const std::byte fill : {std::byte{0xFF}, std::byte{0x7F}, std::byte{0x81}, std::byte{0x00}}) {
      TestMatrix matrix(type, rows, columns, random);
      // All quants at an end of their range; the scales, which lie in 16-bit words of the block, set to one.
      for (std::byte& b : matrix.blocks) b = fill;
      const auto facts = FactsOf(type);
      const uint16_t one = 0x3C00;
      const bool scale_last = type == BlockType::kQ2_K || type == BlockType::kQ3_K || type == BlockType::kQ6_K;
      const int halves = type == BlockType::kQ2_K || type == BlockType::kQ4_K || type == BlockType::kQ5_K ||
                                 type == BlockType::kQ4_1 || type == BlockType::kQ5_1
                             ? 2
                             : 1;
      for (size_t at = 0; at < matrix.blocks.size(); at += static_cast<size_t>(facts.bytes_per_block)) {
        for (int h = 0; h < halves; ++h) {
          const size_t offset =
              scale_last ? static_cast<size_t>(facts.bytes_per_block - 2 * (h + 1)) : 2 * static_cast<size_t>(h);
          std::memcpy(matrix.blocks.data() + at + offset, &one, 2);
        }
      }
      for (int64_t r = 0; r < rows; ++r)
        DecodeRow(type, matrix.view.Row(r), matrix.decoded.data() + r * columns, columns);
      for (const float input : {1.0f, -1.0f}) {
        for (const int64_t tokens : {1, 4}) {
          std::vector<float> x(static_cast<size_t>(tokens * columns), input), y(static_cast<size_t>(tokens * rows));
          std::vector<double> magnitudes;
          const std::vector<double> expected = IntegerReference(matrix, x, tokens, magnitudes);
          QuantizedRows quantized;
          quantized.Assign(x.data(), tokens, columns, pool);
          MatMul(matrix.view, quantized, y.data(), pool);
          for (size_t i = 0; i < y.size(); ++i) {
            ASSERT_NEAR(y[i], expected[i], 1e-5 * (magnitudes[i] + 65536))
                << facts.name << " fill " << static_cast<int>(fill);
          }
        }
      }
    }
  }
}

// A model that overflows must be seen to, not answer nonsense.
TEST_P(EveryInstructionSet, WhatIsNotFiniteIsNotHidden) {
  ThreadPool pool(1);
  std::mt19937 random(7);
  for (const BlockType type :
       {BlockType::kQ4_0, BlockType::kQ8_0, BlockType::kQ4_K, BlockType::kQ6_K, BlockType::kQ3_K, BlockType::kBF16}) {
    const TestMatrix matrix(type, 32, 256, random);
    for (const float value : {NAN, INFINITY, -INFINITY}) {
      for (const int64_t tokens : {1, 5}) {
        std::vector<float> x(static_cast<size_t>(tokens * 256), 1.0f), y(static_cast<size_t>(tokens * 32));
        x[40] = value;
        QuantizedRows quantized;
        quantized.Assign(x.data(), tokens, 256, pool);
        MatMul(matrix.view, quantized, y.data(), pool);
        for (int64_t r = 0; r < 32; ++r) EXPECT_FALSE(std::isfinite(y[r])) << FactsOf(type).name << " of " << value;
        for (int64_t r = 32; r < tokens * 32; ++r) EXPECT_TRUE(std::isfinite(y[r])) << FactsOf(type).name;
      }
    }
  }
}

TEST_P(EveryInstructionSet, MatMulTransposedEqualsSumsInDoublePrecision) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (const BlockType type : kTypes) {
      for (const auto& [rows, columns, tokens] : kShapes) {
        const TestMatrix matrix(type, rows, columns, random);
        std::vector<float> dy(static_cast<size_t>(tokens * rows)), dx(static_cast<size_t>(tokens * columns), NAN);
        for (float& v : dy) v = normal(random);
        MatMulTransposed(matrix.view, dy.data(), tokens, dx.data(), pool);
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t c = 0; c < columns; ++c) {
            double sum = 0, magnitude = 1e-12;
            for (int64_t r = 0; r < rows; ++r) {
              const double term = static_cast<double>(matrix.decoded[r * columns + c]) * dy[t * rows + r];
              sum += term;
              magnitude += std::fabs(term);
            }
            ASSERT_NEAR(dx[t * columns + c], sum, 4e-6 * magnitude)
                << FactsOf(type).name << " " << rows << "x" << columns;
          }
        }
      }
    }
  }
}

// Ends that fill no vector, in both directions.
TEST_P(EveryInstructionSet, ShortRowsOfAnyLength) {
  ThreadPool pool(1);
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (int64_t count = 1; count < 70; ++count) {
    std::vector<float> a(static_cast<size_t>(count)), b(a), y(a);
    double expected = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      a[i] = normal(random);
      b[i] = normal(random);
      expected += static_cast<double>(a[i]) * b[i];
    }
    const WeightMatrix row = {BlockType::kF32, reinterpret_cast<const std::byte*>(a.data()), 1, count};
    float sum = NAN;
    MatMul(row, b.data(), 1, &sum, pool);
    EXPECT_NEAR(sum, expected, 1e-4);
    const float factor = 0.5f;
    MatMulTransposed(row, &factor, 1, y.data(), pool);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(y[i], 0.5f * a[i], 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, EveryInstructionSet, testing::ValuesIn(AvailableInstructionSets()),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace fedglm
