// Decode's way in NEON: rows of blocks times one token. Included by products_neon.cc alone.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "inference/kernels/levels.h"
#include "inference/kernels/quantized_activations.h"
#include "inference/kernels/unpack_levels.h"

namespace fedglm {
namespace {

// 32 levels times wide activations, as four 32-bit sums.
int32x4_t SignedSums(const int8_t* levels, const int16_t* inputs) {
  int32x4_t sum = vdupq_n_s32(0);
#pragma GCC unroll 4
  for (int i = 0; i < 32; i += 8) {
    const int16x8_t wide = vmovl_s8(vld1_s8(levels + i)), input = vld1q_s16(inputs + i);
    sum = vmlal_s16(sum, vget_low_s16(wide), vget_low_s16(input));
    sum = vmlal_high_s16(sum, wide, input);
  }
  return sum;
}

// Q4_0 and Q4_1: nibbles straight from the file's blocks.
template <typename Block, bool kMinimum>
float DotNibbles(const std::byte* blocks, const ActivationView& x) {
  float32x4_t total = vdupq_n_f32(0);
  float offsets = 0;
  for (int64_t i = 0; i < x.columns / 32; ++i) {
    const Block& block = reinterpret_cast<const Block*>(blocks)[i];
    const uint8x16_t nibbles = vld1q_u8(block.nibbles);
    const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(nibbles, vdupq_n_u8(15)));
    const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(nibbles, 4));
    int32x4_t sum = vdotq_s32(vdupq_n_s32(0), low, vld1q_s8(x.values + 32 * i));
    sum = vdotq_s32(sum, high, vld1q_s8(x.values + 32 * i + 16));
    const float step = HalfToFloat(block.scale);
    total = vfmaq_n_f32(total, vcvtq_f32_s32(sum), step * x.scales[i]);
    if constexpr (kMinimum) {
      offsets += HalfToFloat(block.minimum) * x.block_sums[i];
    } else {
      offsets += -8.0f * step * x.block_sums[i];
    }
  }
  return vaddvq_f32(total) + offsets;
}

float DotQ8_0(const std::byte* blocks, const ActivationView& x) {
  float32x4_t total = vdupq_n_f32(0);
  for (int64_t i = 0; i < x.columns / 32; ++i) {
    const BlockQ8_0& block = reinterpret_cast<const BlockQ8_0*>(blocks)[i];
    const int32x4_t sum = SignedSums(reinterpret_cast<const int8_t*>(block.values), x.wide + 32 * i);
    total = vfmaq_n_f32(total, vcvtq_f32_s32(sum), HalfToFloat(block.scale) * x.scales[i]);
  }
  return vaddvq_f32(total) * (1.0f / kWideSteps);
}

// Every other type: 256 columns become levels in the first-level cache.
template <int kStepColumns, bool kSigned>
float DotLevels(BlockType type, const std::byte* blocks, const ActivationView& x) {
  alignas(16) uint8_t levels[256];
  float steps[256 / kStepColumns], offsets[256 / kStepColumns];
  const float* const input_sums = kStepColumns == 32 ? x.block_sums : x.half_sums;
  float32x4_t total = vdupq_n_f32(0);
  float offset = 0;
  for (int64_t from = 0; from < x.columns; from += 256) {
    const int64_t columns = x.columns - from < 256 ? x.columns - from : 256;
    UnpackLevels(type, blocks + RowBytes(type, from), columns, levels, steps, offsets);
    for (int64_t step = 0; step < columns / kStepColumns; ++step) {
      const auto* const at = reinterpret_cast<const int8_t*>(levels) + step * kStepColumns;
      const int64_t column = from + step * kStepColumns;
      int32x4_t sum = vdupq_n_s32(0);
      if constexpr (kSigned) {
        sum = SignedSums(at, x.wide + column);
      } else {
        for (int i = 0; i < kStepColumns; i += 16)
          sum = vdotq_s32(sum, vld1q_s8(at + i), vld1q_s8(x.values + column + i));
        offset += offsets[step] * input_sums[column / kStepColumns];
      }
      total = vfmaq_n_f32(total, vcvtq_f32_s32(sum), steps[step] * x.scales[column / 32]);
    }
  }
  return kSigned ? vaddvq_f32(total) * (1.0f / kWideSteps) : vaddvq_f32(total) + offset;
}

float DotRow(BlockType type, const std::byte* blocks, const ActivationView& x) {
  switch (type) {
    case BlockType::kQ4_0:
      return DotNibbles<BlockQ4_0, false>(blocks, x);
    case BlockType::kQ4_1:
      return DotNibbles<BlockQ4_1, true>(blocks, x);
    case BlockType::kQ8_0:
      return DotQ8_0(blocks, x);
    default:
      break;
  }
  if (RangeOf(type) == LevelRange::kSigned) return DotLevels<32, true>(type, blocks, x);
  return StepColumns(type) == 16 ? DotLevels<16, false>(type, blocks, x) : DotLevels<32, false>(type, blocks, x);
}

// y[r] = sum_c W[r][c] x[c] for `rows` rows, row_bytes apart.
void DotRows(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows, const ActivationView& x,
             float* y) {
  for (int64_t r = 0; r < rows; ++r) y[r] = DotRow(type, blocks + r * row_bytes, x);
}

}  // namespace
}  // namespace fedglm
