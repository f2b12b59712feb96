// The searches behind the encoders: which scale (and minimum) makes a group of weights lose least. Private to this
// folder.
//
// A block type says which levels q there are; what is searched is the scale, and for some types the minimum, such
// that sum of w·(x - scale·q - minimum)² is small, w being the weights' importance. For given levels the best scale
// is a linear least-squares fit, for a given scale the best levels are the nearest ones. Both are alternated (Lloyd
// 1957) from several starting points, since one alone ends in whatever minimum is nearest; the starts are those of
// ggml's make_qx_quants and make_qkx2_quants, around the scale at which the levels just span the group.
//
// Sums run in eight lanes, so that the compiler may vectorize them and the result does not depend on how it does.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "inference/quantization/half.h"

namespace fedglm {

inline constexpr int kLanes = 8;  // groups have a multiple of this many weights
inline constexpr int kLargestGroup = 32;

// To the nearest integer, ties to even; |value| < 2^22.
inline float RoundToNearest(float value) {
  constexpr float kMagic = 0x1.8p23f;
  return (value + kMagic) - kMagic;
}

// The float16 nearest to a scale. It stays finite, and a scale that is not zero stays so: the levels are chosen for the
// rounded scale, and can make up for its rounding, but not for its being gone.
inline uint16_t ScaleToHalf(float scale) {
  const uint16_t half = FloatToHalf(std::clamp(scale, -65504.0f, 65504.0f));
  if ((half & 0x7fff) != 0 || scale == 0.0f) return half;
  return static_cast<uint16_t>(half | 1);
}

inline float Inverse(float scale) { return scale != 0.0f ? 1.0f / scale : 0.0f; }

// The levels lowest, lowest + 1, … highest.
struct EvenLevels {
  float lowest, highest;
  float Nearest(float value) const { return RoundToNearest(std::min(std::max(value, lowest), highest)); }
};

template <typename Body>
float SumOver(int count, const Body& body) {
  float lanes[kLanes] = {};
  for (int i = 0; i < count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += body(i + lane);
  }
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

// Sum of w·(x - scale·q)², with the levels that are nearest for this scale. `chosen` may be nullptr.
template <typename Levels>
float ScaleError(const Levels& levels, float scale, const float* x, const float* w, int count, float* chosen) {
  const float inverse = Inverse(scale);
  float q[kLargestGroup];
  for (int i = 0; i < count; ++i) q[i] = levels.Nearest(x[i] * inverse);
  if (chosen != nullptr) std::copy_n(q, count, chosen);
  return SumOver(count, [&](int i) {
    const float difference = x[i] - scale * q[i];
    return w[i] * difference * difference;
  });
}

// The scale for x ≈ scale·q; negative where the lowest level is further out than the highest and the extreme is
// positive. 0 for a group of zeros.
template <typename Levels>
float FitScale(const Levels& levels, const float* x, const float* w, int count) {
  float extreme = 0;
  for (int i = 0; i < count; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  if (extreme == 0.0f) return 0.0f;
  float best_scale = 0.0f, best_error = INFINITY;
  // Takes levels at a scale, fits the scale to them. True if that is the best so far.
  const auto try_at = [&](float inverse) {
    float q[kLargestGroup];
    for (int i = 0; i < count; ++i) q[i] = levels.Nearest(x[i] * inverse);
    const float product = SumOver(count, [&](int i) { return w[i] * x[i] * q[i]; });
    const float square = SumOver(count, [&](int i) { return w[i] * q[i] * q[i]; });
    if (!(square > 0.0f)) return false;
    const float scale = product / square;
    const float error = SumOver(count, [&](int i) {
      const float difference = x[i] - scale * q[i];
      return w[i] * difference * difference;
    });
    if (!(error < best_error)) return false;
    best_scale = scale;
    best_error = error;
    return true;
  };
  // The extreme at the far end of the levels, a little inside, and up to a fourth beyond: cut off, the rest is finer.
  for (const float end : {levels.lowest, levels.highest}) {
    for (int step = -2; step <= 10; ++step) try_at(end * (1.0f + 0.025f * static_cast<float>(step)) / extreme);
  }
  for (int round = 0; round < 4 && best_scale != 0.0f && try_at(1.0f / best_scale); ++round) {
  }
  return best_scale;
}

struct AffineFit {
  float scale = 0, minimum = 0;
};

// Sum of w·(x - scale·q - minimum)², with the levels 0…highest that are nearest. `chosen` may be nullptr.
inline float AffineError(AffineFit fit, float highest, const float* x, const float* w, int count, float* chosen) {
  const EvenLevels levels{0.0f, highest};
  const float inverse = Inverse(fit.scale);
  float q[kLargestGroup];
  for (int i = 0; i < count; ++i) q[i] = levels.Nearest((x[i] - fit.minimum) * inverse);
  if (chosen != nullptr) std::copy_n(q, count, chosen);
  return SumOver(count, [&](int i) {
    const float difference = x[i] - fit.scale * q[i] - fit.minimum;
    return w[i] * difference * difference;
  });
}

// The fit for x ≈ scale·q + minimum with q = 0…highest and scale >= 0; with `below_zero`, minimum <= 0.
inline AffineFit FitAffine(float highest, bool below_zero, const float* x, const float* w, int count) {
  const auto [lowest_at, highest_at] = std::minmax_element(x, x + count);
  const float low = below_zero ? std::min(*lowest_at, 0.0f) : *lowest_at, span = *highest_at - low;
  if (!(span > 0.0f)) return {0.0f, low};
  const EvenLevels levels{0.0f, highest};
  AffineFit best{span / highest, low};
  float best_error = AffineError(best, highest, x, w, count, nullptr);
  const float sum_w = SumOver(count, [&](int i) { return w[i]; });
  const float sum_x = SumOver(count, [&](int i) { return w[i] * x[i]; });
  const auto try_at = [&](float inverse, float offset) {
    float q[kLargestGroup];
    for (int i = 0; i < count; ++i) q[i] = levels.Nearest((x[i] - offset) * inverse);
    const float sum_q = SumOver(count, [&](int i) { return w[i] * q[i]; });
    const float sum_qq = SumOver(count, [&](int i) { return w[i] * q[i] * q[i]; });
    const float sum_xq = SumOver(count, [&](int i) { return w[i] * x[i] * q[i]; });
    const float determinant = sum_w * sum_qq - sum_q * sum_q;
    if (!(determinant > 0.0f)) return false;
    AffineFit fit{(sum_w * sum_xq - sum_x * sum_q) / determinant, (sum_qq * sum_x - sum_q * sum_xq) / determinant};
    if (below_zero && fit.minimum > 0.0f) fit = {sum_xq / sum_qq, 0.0f};
    if (!(fit.scale > 0.0f)) return false;
    const float error = SumOver(count, [&](int i) {
      const float difference = x[i] - fit.scale * q[i] - fit.minimum;
      return w[i] * difference * difference;
    });
    if (!(error < best_error)) return false;
    best = fit;
    best_error = error;
    return true;
  };
  for (int step = -10; step <= 12; ++step) {
    const float reach = highest + 0.1f * static_cast<float>(step);
    if (reach > 0.3f) try_at(reach / span, low);
  }
  for (int round = 0; round < 4 && try_at(1.0f / best.scale, best.minimum); ++round) {
  }
  return best;
}

}  // namespace fedglm
