#include "inference/kernels/kernels.h"

#include <cmath>
#include <cstring>
#include <random>

#include "gtest/gtest.h"
#include "inference/quantization/codec.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

constexpr BlockType kTypes[] = {BlockType::kF32,  BlockType::kF16,  BlockType::kBF16,  BlockType::kQ8_0, BlockType::kQ4_0,
                                BlockType::kQ4_1, BlockType::kQ5_0, BlockType::kQ5_1,  BlockType::kQ2_K, BlockType::kQ3_K,
                                BlockType::kQ4_K, BlockType::kQ5_K, BlockType::kQ6_K, BlockType::kIQ4_NL, BlockType::kIQ4_XS};

// A matrix of a type with its decoded weights. Types that cannot be encoded take golden blocks.
struct TestMatrix {
  std::vector<std::byte> blocks;
  std::vector<float> decoded;
  WeightMatrix view;

  TestMatrix(BlockType type, int64_t rows, int64_t columns, std::mt19937& random) {
    blocks.resize(static_cast<size_t>(RowBytes(type, columns) * rows));
    if (CanEncode(type)) {
      std::normal_distribution<float> normal;
      std::vector<float> row(static_cast<size_t>(columns));
      for (int64_t r = 0; r < rows; ++r) {
        for (float& w : row) w = normal(random);
        EXPECT_TRUE(EncodeRow(type, row.data(), blocks.data() + r * RowBytes(type, columns), columns).ok());
      }
    } else {
      const auto golden = ReadFile(GoldenPath("quantization/" + std::string(FactsOf(type).name) + ".blocks"));
      EXPECT_TRUE(golden.ok());
      for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<std::byte>((*golden)[i % golden->size()]);
    }
    decoded.resize(static_cast<size_t>(rows * columns));
    view = {type, blocks.data(), rows, columns};
    for (int64_t r = 0; r < rows; ++r) DecodeRow(type, view.Row(r), decoded.data() + r * columns, columns);
  }
};

struct Shape { int64_t rows, columns, tokens; };
constexpr Shape kShapes[] = {{1, 256, 1}, {7, 256, 2}, {33, 512, 5}, {64, 256, 33}, {130, 768, 1}, {5, 2304, 13}};

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
            ASSERT_NEAR(dx[t * columns + c], sum, 4e-6 * magnitude) << FactsOf(type).name << " " << rows << "x" << columns;
          }
        }
      }
    }
  }
}

TEST_P(EveryInstructionSet, ShortVectorsOfAnyLength) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (int64_t count = 0; count < 70; ++count) {
    std::vector<float> a(static_cast<size_t>(count)), b(a);
    double expected = 0;
    for (int64_t i = 0; i < count; ++i) {
      a[i] = normal(random);
      b[i] = normal(random);
      expected += static_cast<double>(a[i]) * b[i];
    }
    EXPECT_NEAR(Dot(a.data(), b.data(), count), expected, 1e-4);
    std::vector<float> y = b;
    AddScaled(0.5f, a.data(), y.data(), count);
    for (int64_t i = 0; i < count; ++i) EXPECT_NEAR(y[i], b[i] + 0.5f * a[i], 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, EveryInstructionSet, testing::ValuesIn(AvailableInstructionSets()),
                         [](const auto& info) { return std::string(info.param); });

TEST(Selection, UnknownNameIsAnError) { EXPECT_FALSE(SelectInstructionSet("mmx").ok()); }

}  // namespace
}  // namespace fedglm
