// Second moments of what a matrix is multiplied with, measured while the model reads a text: which columns matter, and
// which of them can make up for each other's rounding. GPTQ calls this matrix the Hessian. docs/quantization.md
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fedglm {

// Of pairs of columns in the same window; columns further apart are taken as uncorrelated. 272 bytes for each column.
// Not thread-safe.
class InputMoments {
 public:
  static constexpr int64_t kWindow = 128;  // columns; the last window may have less

  // What one of so many columns takes.
  static uint64_t Bytes(int64_t columns);
  explicit InputMoments(int64_t columns);

  int64_t columns() const { return columns_; }
  int64_t windows() const { return (columns_ + kWindow - 1) / kWindow; }
  int64_t WidthOf(int64_t window) const { return std::min(kWindow, columns_ - window * kWindow); }

  // x: [rows][columns], one row a token.
  void Add(const float* x, int64_t rows);
  // Mean of x[i]·x[j] over the rows that were added, for columns i and j of a window; 0 if there were none.
  double Mean(int64_t window, int64_t i, int64_t j) const;

 private:
  int64_t columns_, rows_ = 0;
  std::vector<float> sums_;  // of each window the lower triangle, each row filled up to whole lanes
};

}  // namespace fedglm
