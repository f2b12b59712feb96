#include "training/layer/output_loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "inference/kernels/row_kernels.h"

namespace fedglm {
namespace {

constexpr int64_t kLogitFloats = 4 << 20;  // at once: 16 MiB

// -log of the target's probability; the logits become exp(logit - the highest), and `sum` theirs.
double CrossEntropy(const RowKernels& kernels, float* logits, int64_t vocabulary, Token target, double* sum) {
  float squares = 0;  // the kernels' exponential of what is not a number is one
  kernels.scores(logits, 1, logits, 1, vocabulary, &squares, 1);
  if (std::isnan(squares)) return squares;
  const float highest = kernels.largest(logits, vocabulary), of_target = logits[target];
  // Float sums lose digits over a large vocabulary: of pieces, they do not.
  *sum = 0;
  constexpr int64_t kPiece = 1024;
  for (int64_t v = 0; v < vocabulary; v += kPiece) {
    *sum += kernels.exponentials(logits + v, std::min(kPiece, vocabulary - v), highest);
  }
  return std::log(*sum) + highest - of_target;
}

}  // namespace

double OutputLoss::operator()(const WeightMatrix& output, const float* hidden, std::span<const Token> targets,
                              double weight, float* gradient) {
  const RowKernels& kernels = ChosenRowKernels();
  const auto rows = static_cast<int64_t>(targets.size());
  const int64_t width = output.columns, vocabulary = output.rows;
  const int64_t chunk = std::clamp<int64_t>(kLogitFloats / vocabulary, 1, std::max<int64_t>(1, rows));
  float* const logits = logits_.Room(chunk * vocabulary);
  std::vector<double> losses(targets.size());
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = std::min(chunk, rows - first);
    input_.Assign(arithmetic_, hidden + first * width, count, width, pool_);
    linear_.Forward({.weight = output}, input_, logits);
    pool_.ParallelFor(count, 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto at = static_cast<size_t>(first + i);
        float* const row = logits + i * vocabulary;
        double sum = 1;
        losses[at] = CrossEntropy(kernels, row, vocabulary, targets[at], &sum);
        if (gradient == nullptr) continue;
        kernels.scale(static_cast<float>(weight / sum), row, vocabulary);
        row[targets[at]] -= static_cast<float>(weight);
      }
    });
    if (gradient != nullptr) MatMulTransposed(output, logits, count, gradient + first * width, pool_);
  }
  double total = 0;
  for (const double loss : losses) total += loss;
  return total;
}

}  // namespace fedglm
