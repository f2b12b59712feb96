// What is measured of a matrix's inputs, and how it is factored.
#include "inference/quantization/error_metric.h"

#include <cmath>
#include <random>

#include "gtest/gtest.h"

namespace fedglm {
namespace {

constexpr int64_t kWindow = InputMoments::kWindow;

std::vector<float> RandomInputs(int64_t rows, int64_t columns, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(rows * columns));
  for (size_t i = 0; i < x.size(); ++i) x[i] = normal(random) + (i > 2 ? 0.5f * x[i - 3] : 0.0f);
  return x;
}

TEST(InputMoments, AreTheMeansOfProducts) {
  constexpr int64_t kRows = 77, kColumns = 2 * kWindow + 40;
  const std::vector<float> x = RandomInputs(kRows, kColumns, 1);
  InputMoments moments(kColumns);
  moments.Add(x.data(), 50);
  moments.Add(x.data() + 50 * kColumns, kRows - 50);
  ASSERT_EQ(moments.windows(), 3);
  for (int64_t w = 0; w < moments.windows(); ++w) {
    ASSERT_EQ(moments.WidthOf(w), w < 2 ? kWindow : 40);
    for (int64_t i = 0; i < moments.WidthOf(w); ++i) {
      for (int64_t j = 0; j < moments.WidthOf(w); ++j) {
        double sum = 0;
        for (int64_t r = 0; r < kRows; ++r) {
          const float* const row = x.data() + r * kColumns + w * kWindow;
          sum += static_cast<double>(row[i]) * row[j];
        }
        ASSERT_NEAR(moments.Mean(w, i, j), sum / kRows, 1e-5) << w << " " << i << " " << j;
      }
    }
  }
}

TEST(InputMoments, OfNothingAreZero) { EXPECT_EQ(InputMoments(32).Mean(0, 3, 3), 0.0); }

// Σ d[i]·(e[i] + Σ_{j>i} R[i][j]·e[j])² is eᵀ H e over the mean of H's diagonal, plus 1 % of e's square for the
// damping.
TEST(ErrorMetric, FactorsTheMoments) {
  constexpr int64_t kRows = 500, kColumns = kWindow + 24;
  const std::vector<float> x = RandomInputs(kRows, kColumns, 2), errors = RandomInputs(1, kColumns, 3);
  InputMoments moments(kColumns);
  moments.Add(x.data(), kRows);
  const ErrorMetric metric = *ErrorMetric::Make(moments);
  ASSERT_EQ(metric.columns(), kColumns);
  double mean = 0, expected = 0, squares = 0, factored = 0;
  for (int64_t i = 0; i < kColumns; ++i) mean += moments.Mean(i / kWindow, i % kWindow, i % kWindow) / kColumns;
  for (int64_t w = 0; w < moments.windows(); ++w) {
    const float* const e = errors.data() + w * kWindow;
    for (int64_t i = 0; i < moments.WidthOf(w); ++i) {
      const int64_t column = w * kWindow + i;
      double owed = 0;
      for (int64_t j = 0; j < moments.WidthOf(w); ++j) {
        expected += moments.Mean(w, i, j) * e[i] * e[j];
        if (j <= i) {
          EXPECT_EQ(metric.Feedback(column)[j], 0.0f);
        }
        owed += metric.Feedback(column)[j] * e[j];
      }
      EXPECT_GT(metric.importance()[column], 0.0f);
      factored += metric.importance()[column] * (e[i] + owed) * (e[i] + owed);
      squares += e[i] * e[i];
    }
  }
  EXPECT_NEAR(factored, expected / mean + 0.01 * squares, 1e-4 * factored);
}

TEST(ErrorMetric, OfFewTokensHasPositiveImportance) {
  const std::vector<float> x = RandomInputs(3, kWindow, 4);
  InputMoments moments(kWindow);
  moments.Add(x.data(), 3);
  const ErrorMetric metric = *ErrorMetric::Make(moments);
  for (int64_t i = 0; i < kWindow; ++i) EXPECT_GT(metric.importance()[i], 0.005f);
}

TEST(ErrorMetric, RefusesInputsThatAreNotFinite) {
  std::vector<float> x(64, 1.0f);
  x[10] = INFINITY;
  InputMoments moments(64);
  moments.Add(x.data(), 1);
  EXPECT_EQ(ExitCodeOf(ErrorMetric::Make(moments).status()), ExitCode::kBadInputFile);
}

}  // namespace
}  // namespace fedglm
