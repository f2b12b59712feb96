#include "inference/kernels/row_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "inference/kernels/instruction_sets.h"

namespace fedglm {
namespace {

std::vector<float> Random(int64_t count, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// Every set that this machine has.
class RowKernelsTest : public testing::TestWithParam<std::string_view> {
 protected:
  static const RowKernels& Select(std::string_view name) {
    EXPECT_TRUE(SelectInstructionSet(name).ok());
    return ChosenRowKernels();
  }
  ~RowKernelsTest() override { EXPECT_TRUE(SelectInstructionSet(before_).ok()); }

  const std::string_view before_ = InstructionSet();
  const RowKernels& kernels_ = Select(GetParam());
};

TEST_P(RowKernelsTest, ScoresAndWeightedSumsAreRightAndDoNotDependOnTheNumberOfRows) {
  struct Shape {
    int64_t size, m, n;
  };
  for (const auto& [size, m, n] : {Shape{1, 7, 5}, Shape{7, 7, 5}, Shape{8, 7, 5}, Shape{8, 90, 64}, Shape{15, 13, 33},
                                   Shape{24, 8, 32}, Shape{64, 7, 5}, Shape{80, 7, 5}, Shape{128, 12, 32}}) {
    const int64_t stride = n + 4;
    const std::vector<float> queries = Random(m * size, 1), keys = Random(n * size, 2);
    std::vector<float> scores(static_cast<size_t>(m * stride), -1.0f);
    kernels_.scores(queries.data(), m, keys.data(), n, size, scores.data(), stride);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double exact = 0;
        for (int64_t c = 0; c < size; ++c) exact += static_cast<double>(queries[i * size + c]) * keys[j * size + c];
        EXPECT_NEAR(scores[i * stride + j], exact, 1e-4);
        float alone;
        kernels_.scores(queries.data() + i * size, 1, keys.data() + j * size, 1, size, &alone, 1);
        EXPECT_EQ(scores[i * stride + j], alone);
      }
      EXPECT_EQ(scores[i * stride + n], -1.0f) << "written past the keys";
    }
    std::vector<float> sums(static_cast<size_t>(m * size), 0.5f);
    kernels_.add_weighted(scores.data(), stride, m, keys.data(), size, n, size, sums.data(), size);
    for (int64_t i = 0; i < m; ++i) {
      std::vector<float> alone(static_cast<size_t>(size), 0.5f);
      kernels_.add_weighted(scores.data() + i * stride, stride, 1, keys.data(), size, n, size, alone.data(), size);
      for (int64_t c = 0; c < size; ++c) {
        double exact = 0.5;
        for (int64_t j = 0; j < n; ++j) exact += static_cast<double>(scores[i * stride + j]) * keys[j * size + c];
        EXPECT_NEAR(sums[i * size + c], exact, 1e-4 * (1 + std::fabs(exact)));
        EXPECT_EQ(sums[i * size + c], alone[static_cast<size_t>(c)]);
      }
    }
  }
}

// A tile of keys may hold some that this token does not see, with weight 0: they must not change how the others are
// summed.
TEST_P(RowKernelsTest, KeysOfWeightZeroChangeNoBit) {
  constexpr int64_t n = 40;
  for (const int64_t size : {1, 7, 8, 24, 64}) {
    const std::vector<float> rows = Random(n * size, 1), all = Random(n, 2);
    for (int64_t seen = 1; seen < n; ++seen) {
      std::vector<float> weights = all;
      std::fill(weights.begin() + seen, weights.end(), 0.0f);
      std::vector<float> sums(static_cast<size_t>(size), 0.5f), expected = sums;
      kernels_.add_weighted(weights.data(), n, 1, rows.data(), size, n, size, sums.data(), size);
      kernels_.add_weighted(weights.data(), n, 1, rows.data(), size, seen, size, expected.data(), size);
      ASSERT_EQ(sums, expected) << seen << " of " << n << ", size " << size;
    }
  }
}

TEST_P(RowKernelsTest, ExponentialsAreExactToTheLastPlaces) {
  for (const int64_t count : {1, 3, 8, 29, 64}) {
    std::vector<float> x = Random(count, 3, 20);
    const std::vector<float> before = x;
    const float highest = kernels_.largest(x.data(), count);
    EXPECT_EQ(highest, *std::max_element(before.begin(), before.end()));
    const float sum = kernels_.exponentials(x.data(), count, highest);
    double exact_sum = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = std::exp(static_cast<double>(before[i] - highest));
      exact_sum += exact;
      EXPECT_NEAR(x[i], exact, 3e-7 * exact + 1e-37);
    }
    EXPECT_NEAR(sum, exact_sum, 1e-6 * exact_sum);
  }
}

TEST_P(RowKernelsTest, SiluAndNormMatchTheirDefinitions) {
  for (const int64_t count : {1, 5, 16, 83, 256}) {
    std::vector<float> gate = Random(count, 4, 10), up = Random(count, 5), out(gate.size());
    gate[0] = -200;  // exp overflows a float
    kernels_.silu_multiply(gate.data(), up.data(), out.data(), count);
    for (size_t i = 0; i < out.size(); ++i) {
      const double exact = gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i];
      EXPECT_NEAR(out[i], exact, 1e-6 * std::fabs(exact) + 1e-30);
    }
    kernels_.rms_norm(gate.data(), up.data(), 1e-5, count, out.data());
    double squares = 0;
    for (const float x : gate) squares += static_cast<double>(x) * x;
    for (size_t i = 0; i < out.size(); ++i) {
      const double exact = gate[i] / std::sqrt(squares / static_cast<double>(count) + 1e-5) * up[i];
      EXPECT_NEAR(out[i], exact, 2e-6 * std::fabs(exact) + 1e-30);
    }
  }
}

TEST_P(RowKernelsTest, GradientsOfSiluAndNormMatchTheirDefinitions) {
  for (const int64_t count : {1, 5, 16, 83, 256}) {
    std::vector<float> gate = Random(count, 4, 10), up = Random(count, 5), dout = Random(count, 7);
    const auto n = static_cast<double>(count);
    gate[0] = -200;
    double squares = 0, along = 0;
    for (size_t i = 0; i < gate.size(); ++i) {
      squares += static_cast<double>(gate[i]) * gate[i];
      along += static_cast<double>(dout[i]) * up[i] * gate[i];
    }
    std::vector<float> dx = dout;
    kernels_.rms_norm_gradient(gate.data(), up.data(), dx.data(), 1e-5, count, dx.data());  // in place
    const double inverse = 1 / std::sqrt(squares / n + 1e-5);
    for (size_t i = 0; i < dx.size(); ++i) {
      const double direct = inverse * dout[i] * up[i], back = std::pow(inverse, 3) * along / n * gate[i];
      EXPECT_NEAR(dx[i], direct - back, 4e-6 * (std::fabs(direct) + std::fabs(back)) + 1e-30);
    }
    std::vector<float> dgate = gate, dup = up;
    kernels_.silu_multiply_gradient(dgate.data(), dup.data(), dout.data(), dgate.data(), dup.data(), count);
    for (size_t i = 0; i < dgate.size(); ++i) {
      const double sigmoid = 1 / (1 + std::exp(-static_cast<double>(gate[i])));
      const double silu = gate[i] * sigmoid, slope = sigmoid * (1 + gate[i] * (1 - sigmoid));
      EXPECT_NEAR(dup[i], dout[i] * silu, 2e-6 * std::fabs(dout[i] * silu) + 1e-30);
      EXPECT_NEAR(dgate[i], dout[i] * up[i] * slope,
                  2e-6 * std::fabs(dout[i] * up[i]) * (sigmoid + std::fabs(silu) * (1 - sigmoid)) + 1e-30);
    }
  }
}

TEST_P(RowKernelsTest, RowsComeBackFromAPageWithinTheFormatsError) {
  for (const int64_t size : {8, 64, 80, 128}) {
    const std::vector<float> rows = Random(3 * size, 6);
    for (const auto& [format, tolerance] :
         {std::pair{KvFormat::kFloat32, 0.0}, {KvFormat::kFloat16, 0x1p-11}, {KvFormat::kQ8_0, 0.0}}) {
      std::vector<std::byte> bytes(static_cast<size_t>(3 * KvRowBytes(format, size)), std::byte{0xff});
      for (int64_t row = 0; row < 3; ++row) {
        kernels_.encode_row(format, rows.data() + row * size, size, bytes.data() + row * KvRowBytes(format, size));
      }
      std::vector<float> back(rows.size());
      kernels_.decode_rows(format, bytes.data(), 3, size, back.data());
      for (int64_t i = 0; i < 3 * size; ++i) {
        double allowed = tolerance * std::fabs(rows[i]) + 1e-7;
        if (format == KvFormat::kQ8_0) {  // half a step of the block
          const int64_t row = i / size, block = row * size + i % size / 32 * 32;
          const int64_t end = std::min(block + 32, (row + 1) * size);
          float largest = 0;
          for (int64_t k = block; k < end; ++k) largest = std::max(largest, std::fabs(rows[k]));
          allowed = largest / 127 * 0.51;
        }
        EXPECT_LE(std::fabs(back[i] - rows[i]), format == KvFormat::kFloat32 ? 0.0 : allowed) << size << " " << i;
      }
    }
  }
}

TEST_P(RowKernelsTest, HalvesSaturate) {
  std::vector<float> row(16, 1e9f), back(16);
  row[3] = -1e9f;
  std::vector<std::byte> bytes(32);
  kernels_.encode_row(KvFormat::kFloat16, row.data(), 16, bytes.data());
  kernels_.decode_rows(KvFormat::kFloat16, bytes.data(), 1, 16, back.data());
  EXPECT_EQ(back[0], 65504.0f);
  EXPECT_EQ(back[3], -65504.0f);
}

INSTANTIATE_TEST_SUITE_P(Sets, RowKernelsTest, testing::ValuesIn(AvailableInstructionSets()),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace fedglm
