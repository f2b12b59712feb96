#include "inference/quantization/error_metric.h"

#include <cmath>

namespace fedglm {
namespace {

constexpr int64_t kWindow = InputMoments::kWindow;

// Moments are measured on a text of limited length. A column that this text hardly used must not be given up, and
// correlations of few tokens must not be trusted: as GPTQ does, 1 % of the diagonal's mean is added to it.
constexpr double kDamping = 0.01;

}  // namespace

ErrorMetric::ErrorMetric(int64_t columns)
    : importance_(static_cast<size_t>(columns), 1.0f), feedback_(static_cast<size_t>(columns * kWindow)) {}

absl::StatusOr<ErrorMetric> ErrorMetric::Make(const InputMoments& inputs) {
  ErrorMetric metric(inputs.columns());
  double mean = 0;
  for (int64_t w = 0; w < inputs.windows(); ++w) {
    for (int64_t i = 0; i < inputs.WidthOf(w); ++i) mean += inputs.Mean(w, i, i);
  }
  mean /= static_cast<double>(inputs.columns());
  if (!std::isfinite(mean)) return BadFileError("the model's activations are not finite");
  if (mean == 0) return metric;
  // With a mean of about 1, so that the sums of the search stay within float32 whatever the activations' size was.
  for (int64_t w = 0; w < inputs.windows(); ++w) metric.Factor(inputs, w, 1 / mean);
  return metric;
}

// Gaussian elimination from the first column on; the damped matrix is positive definite, so every pivot is positive.
void ErrorMetric::Factor(const InputMoments& inputs, int64_t window, double scale) {
  const int64_t width = inputs.WidthOf(window);
  std::vector<double> h(static_cast<size_t>(kWindow * kWindow));
  const auto at = [&](int64_t i, int64_t j) -> double& { return h[static_cast<size_t>(i * kWindow + j)]; };
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t j = i; j < width; ++j) at(i, j) = scale * inputs.Mean(window, i, j) + (i == j ? kDamping : 0.0);
  }
  for (int64_t k = 0; k < width; ++k) {
    const int64_t column = window * kWindow + k;
    importance_[static_cast<size_t>(column)] = static_cast<float>(at(k, k));
    float* const row = feedback_.data() + column * kWindow;
    for (int64_t i = k + 1; i < width; ++i) {
      const double factor = at(k, i) / at(k, k);
      row[i] = static_cast<float>(factor);
      for (int64_t j = i; j < width; ++j) at(i, j) -= factor * at(k, j);
    }
  }
}

}  // namespace fedglm
