// What the rounding errors of a row cost: for errors e of its weights, the mean square of e·x over the inputs x that
// were measured, window by window: eᵀ H e with H the second moments of the inputs.
//
// H is factored as Rᵀ D R, R unit upper triangular, D diagonal: eᵀ H e = Σ d[i]·(e[i] + Σ_{j>i} R[i][j]·e[j])².
// Read from the last column to the first, each column's term can be made small by the choice of its own level, whatever
// the columns after it have lost: error feedback, as in GPTQ (Frantar et al. 2022), here as Babai's nearest plane.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "inference/quantization/input_moments.h"

namespace fedglm {

// Immutable: threads may share it.
class ErrorMetric {
 public:
  // Without any input, all columns are alike and uncorrelated. BadFile if the inputs were not finite.
  static absl::StatusOr<ErrorMetric> Make(const InputMoments& inputs);

  int64_t columns() const { return static_cast<int64_t>(importance_.size()); }
  // d: what is left of a column's moment when the columns before it in its window explain what they can. Positive.
  const float* importance() const { return importance_.data(); }
  // R's row of a column: InputMoments::kWindow numbers by column of the window, 0 up to the column itself.
  const float* Feedback(int64_t column) const { return feedback_.data() + column * InputMoments::kWindow; }

 private:
  explicit ErrorMetric(int64_t columns);
  void Factor(const InputMoments& inputs, int64_t window, double scale);

  std::vector<float> importance_, feedback_;
};

}  // namespace fedglm
