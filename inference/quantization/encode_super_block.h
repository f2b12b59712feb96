// Super-blocks: sub-blocks whose scales (and minimums) are small integers times one float16. The integers and the
// float16 are searched together with the levels. Private to this folder.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "inference/quantization/encode_blocks.h"
#include "inference/quantization/encode_search.h"

namespace fedglm {

inline constexpr int kSuperBlock = 256;
// Rounds of: integers and levels for the float16, float16 for the integers and levels. The second round still wins a
// little, a third nothing that could be measured.
inline constexpr int kSuperBlockRounds = 3;

// x ≈ scale·scales[k]·levels[i] in sub-block k.
struct ScaledSuperBlock {
  uint16_t scale = 0;  // float16
  int scales[16] = {};
  float levels[kSuperBlock] = {};

  void CopyTo(int sub_blocks, BlockFit fit) const {
    std::copy_n(levels, kSuperBlock, fit.levels);
    for (int k = 0; k < sub_blocks; ++k) {
      fit.steps[k] = HalfToFloat(scale) * static_cast<float>(scales[k]);
      fit.offsets[k] = 0.0f;
    }
  }
};

// `lowest`, `highest`: which integers a sub-block's scale can be.
template <typename Levels>
ScaledSuperBlock FitScaledSuperBlock(const Levels& levels, int sub_blocks, int lowest, int highest, const float* x,
                                     const float* w) {
  const int size = kSuperBlock / sub_blocks;
  float wanted[16], extreme = 0;
  for (int k = 0; k < sub_blocks; ++k) {
    wanted[k] = FitScale(levels, x + k * size, w + k * size, size);
    if (std::fabs(wanted[k]) > std::fabs(extreme)) extreme = wanted[k];
  }
  ScaledSuperBlock best, current;
  if (extreme == 0.0f) {
    for (int i = 0; i < kSuperBlock; ++i) best.levels[i] = levels.Nearest(0.0f);
    return best;
  }
  float best_error = INFINITY;
  current.scale = ScaleToHalf(extreme / static_cast<float>(lowest));
  for (int round = 0; round < kSuperBlockRounds; ++round) {
    const float scale = HalfToFloat(current.scale);
    float error = 0, product = 0, square = 0;
    for (int k = 0; k < sub_blocks; ++k) {
      const float *xs = x + k * size, *ws = w + k * size;
      const int nearest = static_cast<int>(
          EvenLevels{static_cast<float>(lowest), static_cast<float>(highest)}.Nearest(wanted[k] / scale));
      float sub_error = INFINITY;
      for (int s = std::max(nearest - 1, lowest); s <= std::min(nearest + 1, highest); ++s) {
        float chosen[kLargestGroup];
        const float e = ScaleError(levels, scale * static_cast<float>(s), xs, ws, size, chosen);
        if (!(e < sub_error)) continue;
        sub_error = e;
        current.scales[k] = s;
        std::copy_n(chosen, size, current.levels + k * size);
      }
      error += sub_error;
      const float s = static_cast<float>(current.scales[k]);
      const float* const q = current.levels + k * size;
      product += s * SumOver(size, [&](int i) { return ws[i] * xs[i] * q[i]; });
      square += s * s * SumOver(size, [&](int i) { return ws[i] * q[i] * q[i]; });
    }
    if (!(error < best_error)) break;
    best = current;
    best_error = error;
    if (!(square > 0.0f) || product == 0.0f) break;
    current.scale = ScaleToHalf(product / square);
  }
  return best;
}

// x ≈ scale·scales[k]·levels[i] - minimum·minimums[k] in sub-block k.
struct AffineSuperBlock {
  uint16_t scale = 0, minimum = 0;  // float16
  int scales[16] = {}, minimums[16] = {};
  float levels[kSuperBlock] = {};

  void CopyTo(int sub_blocks, BlockFit fit) const {
    std::copy_n(levels, kSuperBlock, fit.levels);
    for (int k = 0; k < sub_blocks; ++k) {
      fit.steps[k] = HalfToFloat(scale) * static_cast<float>(scales[k]);
      fit.offsets[k] = -HalfToFloat(minimum) * static_cast<float>(minimums[k]);
    }
  }
};

// Chooses the integers of sub-block k near what was wanted, and its levels: first the scale, then the minimum. Returns
// the error.
inline float ChooseSubBlock(AffineFit wanted, int k, int size, int highest, float highest_level, const float* x,
                            const float* w, AffineSuperBlock& block) {
  const float scale = HalfToFloat(block.scale), minimum = HalfToFloat(block.minimum);
  const auto near = [&](float value, float unit) {
    return static_cast<int>(std::clamp(std::nearbyint(value * Inverse(unit)), 0.0f, static_cast<float>(highest)));
  };
  const int s = near(wanted.scale, scale), m = near(-wanted.minimum, minimum);
  float error = INFINITY;
  const auto consider = [&](int scale_steps, int minimum_steps) {
    if (scale_steps < 0 || scale_steps > highest || minimum_steps < 0 || minimum_steps > highest) return;
    const AffineFit fit{scale * static_cast<float>(scale_steps), -minimum * static_cast<float>(minimum_steps)};
    float chosen[kLargestGroup];
    const float e = AffineError(fit, highest_level, x, w, size, chosen);
    if (!(e < error)) return;
    error = e;
    block.scales[k] = scale_steps;
    block.minimums[k] = minimum_steps;
    std::copy_n(chosen, size, block.levels + k * size);
  };
  for (int step = -1; step <= 1; ++step) consider(s + step, m);
  const int best_scale = block.scales[k];
  for (const int step : {-1, 1}) consider(best_scale, m + step);
  const int best_minimum = block.minimums[k];
  for (const int step : {-1, 1}) consider(best_scale + step, best_minimum);
  return error;
}

// `highest`: the largest integer for a sub-block's scale and minimum.
inline AffineSuperBlock FitAffineSuperBlock(int sub_blocks, int highest, float highest_level, const float* x,
                                            const float* w) {
  const int size = kSuperBlock / sub_blocks;
  AffineFit wanted[16];
  float largest_scale = 0, largest_minimum = 0;
  for (int k = 0; k < sub_blocks; ++k) {
    wanted[k] = FitAffine(highest_level, true, x + k * size, w + k * size, size);
    largest_scale = std::max(largest_scale, wanted[k].scale);
    largest_minimum = std::max(largest_minimum, -wanted[k].minimum);
  }
  AffineSuperBlock best, current;
  float best_error = INFINITY;
  current.scale = ScaleToHalf(largest_scale / static_cast<float>(highest));
  current.minimum = ScaleToHalf(largest_minimum / static_cast<float>(highest));
  for (int round = 0; round < kSuperBlockRounds; ++round) {
    float error = 0;
    // Normal equations for x ≈ scale·(s·q) - minimum·m.
    double ss = 0, sm = 0, mm = 0, sx = 0, mx = 0;
    for (int k = 0; k < sub_blocks; ++k) {
      const float *xs = x + k * size, *ws = w + k * size, *q = current.levels + k * size;
      error += ChooseSubBlock(wanted[k], k, size, highest, highest_level, xs, ws, current);
      const double s = current.scales[k], m = current.minimums[k];
      const double sum_q = SumOver(size, [&](int i) { return ws[i] * q[i]; });
      ss += s * s * SumOver(size, [&](int i) { return ws[i] * q[i] * q[i]; });
      sm += s * m * sum_q;
      mm += m * m * SumOver(size, [&](int i) { return ws[i]; });
      sx += s * SumOver(size, [&](int i) { return ws[i] * xs[i] * q[i]; });
      mx += m * SumOver(size, [&](int i) { return ws[i] * xs[i]; });
    }
    if (!(error < best_error)) break;
    best = current;
    best_error = error;
    const double determinant = ss * mm - sm * sm;
    if (determinant > 0) {
      const double scale = (sx * mm - mx * sm) / determinant, minimum = (sx * sm - mx * ss) / determinant;
      if (!(scale > 0) || minimum < 0) break;
      current.scale = ScaleToHalf(static_cast<float>(scale));
      current.minimum = ScaleToHalf(static_cast<float>(minimum));
    } else if (ss > 0 && sx > 0) {  // no sub-block has a minimum
      current.scale = ScaleToHalf(static_cast<float>(sx / ss));
    } else {
      break;
    }
  }
  return best;
}

}  // namespace fedglm
