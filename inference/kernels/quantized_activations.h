// Activations as the integer kernels read them. Private to this folder: kernels.h has the class that owns them.
//
// Each 32 values x become x ~ scale * q with q = round(x / scale) in -127…127 and scale = max|x| / 127 in float32: the
// step of ggml's Q8_0 with a scale that is not rounded to half precision. Signed levels, whose products do not fit 16
// bits anyway, meet the same values in 256 times finer steps, which cost them nothing.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace fedglm {

inline constexpr int64_t kActivationBlock = 32;  // values that share a scale
inline constexpr float kWideSteps = 256.0f;      // a step of `values` in steps of `wide`
inline constexpr int64_t kActivationHalf = 16;  // values that share a sum: the smallest block of weights with a minimum

// Rows of activations, one a token, one after the other.
struct ActivationView {
  int64_t columns;          // of a row
  const int8_t* values;     // [tokens][columns]
  const int16_t* wide;      // [tokens][columns]: round(256 * x / scale)
  const float* scales;      // [tokens][columns / 32], of `values`
  const float* block_sums;  // [tokens][columns / 32]: scale times the sum of a block's values
  const float* half_sums;   // [tokens][columns / 16]: the same of each half of a block

  ActivationView Token(int64_t t) const {
    return {columns,
            values + t * columns,
            wide + t * columns,
            scales + t * (columns / kActivationBlock),
            block_sums + t * (columns / kActivationBlock),
            half_sums + t * (columns / kActivationHalf)};
  }
};

namespace {

// To the nearest, ties to even, for |x| < 2^22: beside 1.5 * 2^23 a float has no room for a fraction, and its lowest
// bits are the integer. Defined for all others too, which a cast is not.
int32_t RoundToInt(float x) { return std::bit_cast<int32_t>(x + 12582912.0f) - 0x4B400000; }

// Internal linkage: included by every kernel file under its own compile flags.
[[maybe_unused]] void QuantizeRow(const float* x, int64_t columns, int8_t* values, int16_t* wide, float* scales,
                                  float* block_sums, float* half_sums) {
  for (int64_t block = 0; block < columns / kActivationBlock; ++block, x += kActivationBlock) {
    float largest = 0, nothing = 0;  // NaN if a value is not finite: then so is the scale, and the error is not hidden
    for (int i = 0; i < kActivationBlock; ++i) {
      const float magnitude = std::fabs(x[i]);
      largest = magnitude > largest ? magnitude : largest;
      nothing += 0.0f * x[i];
    }
    const float scale = largest / 127.0f + nothing, inverse = largest > 0 ? 127.0f / largest : 0.0f;
    int8_t* const out = values + block * kActivationBlock;
    for (int i = 0; i < kActivationBlock; ++i) out[i] = static_cast<int8_t>(RoundToInt(x[i] * inverse));
    for (int i = 0; i < kActivationBlock; ++i) {
      wide[block * kActivationBlock + i] = static_cast<int16_t>(RoundToInt(x[i] * inverse * kWideSteps));
    }
    scales[block] = scale;
    int32_t sums[2] = {0, 0};
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < kActivationHalf; ++i) sums[half] += out[half * kActivationHalf + i];
      half_sums[2 * block + half] = scale * static_cast<float>(sums[half]);
    }
    block_sums[block] = scale * static_cast<float>(sums[0] + sums[1]);
  }
}

}  // namespace
}  // namespace fedglm
