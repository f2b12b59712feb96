// Levels of a row chosen together: each for what the levels after it have lost. Private to this folder.
#pragma once

#include <algorithm>
#include <cstdint>

#include "inference/quantization/encode_search.h"
#include "inference/quantization/error_metric.h"

namespace fedglm {

// A row after the search for scales: weight i is decoded as steps[i / group]·levels[i] + offsets[i / group].
struct RowLevels {
  float* levels;
  const float* steps;
  const float* offsets;
  int group;

  float Decoded(int64_t i, float level) const { return steps[i / group] * level + offsets[i / group]; }
};

// In one window: `choose(i, wanted)` returns the level of column i, where `wanted` is the weight plus what makes up for
// the errors of the columns after it. Returns the errors' cost.
template <typename Choose>
float WalkWindow(const float* x, const ErrorMetric& metric, int64_t begin, int64_t width, const RowLevels& row,
                 const Choose& choose) {
  float errors[InputMoments::kWindow] = {};
  float cost = 0;
  for (int64_t k = width - 1; k >= 0; --k) {
    const int64_t i = begin + k, first = (k + 1) / kLanes * kLanes;  // feedback of what is before k + 1 is 0
    const float* const feedback = metric.Feedback(i);
    const float owed = SumOver(static_cast<int>(InputMoments::kWindow - first),
                               [&](int j) { return feedback[first + j] * errors[first + j]; });
    errors[k] = x[i] - row.Decoded(i, choose(i, x[i] + owed));
    const float left = errors[k] + owed;
    cost += metric.importance()[i] * left * left;
  }
  return cost;
}

// Replaces the levels of windows where error feedback costs less than the nearest levels do. It nearly always does;
// where a window's weights lie outside of their levels' range it may not.
template <typename Levels>
void RoundTogether(const Levels& levels, const float* x, const ErrorMetric& metric, const RowLevels& row) {
  for (int64_t begin = 0; begin < metric.columns(); begin += InputMoments::kWindow) {
    const int64_t width = std::min(InputMoments::kWindow, metric.columns() - begin);
    const float nearest = WalkWindow(x, metric, begin, width, row, [&](int64_t i, float) { return row.levels[i]; });
    float chosen[InputMoments::kWindow];
    const float together = WalkWindow(x, metric, begin, width, row, [&](int64_t i, float wanted) {
      const int64_t group = i / row.group;
      return chosen[i - begin] = levels.Nearest((wanted - row.offsets[group]) * Inverse(row.steps[group]));
    });
    if (together < nearest) std::copy_n(chosen, width, row.levels + begin);
  }
}

}  // namespace fedglm
