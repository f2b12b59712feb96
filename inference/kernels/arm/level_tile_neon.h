// The inner loops of level_tile.h in NEON: four rows in a register. All unsigned levels are below 64, so that the
// signed dot product serves them too. Included by the NEON kernel files, with i8mm's 2x2 products where the compile
// flags allow them.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "inference/kernels/levels.h"
#include "inference/kernels/product_kernels.h"
#include "inference/kernels/quantized_activations.h"

namespace fedglm {
namespace {

constexpr int kLanes = 4;
constexpr int kTokenGroup = 8;  // 8 integer and 8 float sums of the 32 registers
constexpr int64_t kTileRows = kLevelTileRows;
constexpr int64_t kTileColumns = 512;

int8x16_t LoadLevels(const uint8_t* levels, int64_t word) {
  return vreinterpretq_s8_u8(vld1q_u8(levels + 4 * kLanes * word));
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
// Two tokens by two rows by eight columns a product.
template <int kTokens, int kColumns>
[[gnu::always_inline]] inline void MultiplyPairs(const uint8_t* levels, const ActivationView& x, int64_t column,
                                                 int32x4_t* sums) {
  int32x4_t low[kTokens / 2], high[kTokens / 2];  // [token][row] of rows 0 and 1, of rows 2 and 3
  for (int t = 0; t < kTokens / 2; ++t) low[t] = high[t] = vdupq_n_s32(0);
#pragma GCC unroll 4
  for (int64_t c = column; c < column + kColumns; c += 8) {
    const int32x4_t first = vreinterpretq_s32_s8(LoadLevels(levels, c / 4));
    const int32x4_t second = vreinterpretq_s32_s8(LoadLevels(levels, c / 4 + 1));
    const int8x16_t low_rows = vreinterpretq_s8_s32(vzip1q_s32(first, second));
    const int8x16_t high_rows = vreinterpretq_s8_s32(vzip2q_s32(first, second));
#pragma GCC unroll 8
    for (int t = 0; t < kTokens / 2; ++t) {
      const int8_t* const at = x.values + 2 * t * x.columns + c;
      const int8x16_t inputs = vcombine_s8(vld1_s8(at), vld1_s8(at + x.columns));
      low[t] = vmmlaq_s32(low[t], inputs, low_rows);
      high[t] = vmmlaq_s32(high[t], inputs, high_rows);
    }
  }
  for (int t = 0; t < kTokens / 2; ++t) {
    sums[2 * t] = vcombine_s32(vget_low_s32(low[t]), vget_low_s32(high[t]));
    sums[2 * t + 1] = vcombine_s32(vget_high_s32(low[t]), vget_high_s32(high[t]));
  }
}
#endif

// sums[t] = the products of kColumns columns from `column` on, for four rows.
template <int kTokens, int kColumns>
[[gnu::always_inline]] inline void MultiplyColumns(const uint8_t* levels, const ActivationView& x, int64_t column,
                                                   int32x4_t* sums) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
  if constexpr (kTokens > 1) return MultiplyPairs<kTokens, kColumns>(levels, x, column, sums);
#endif
  for (int t = 0; t < kTokens; ++t) sums[t] = vdupq_n_s32(0);
#pragma GCC unroll 2
  for (int64_t c = column; c < column + kColumns; c += 16) {
    const int8x16_t words[4] = {LoadLevels(levels, c / 4), LoadLevels(levels, c / 4 + 1), LoadLevels(levels, c / 4 + 2),
                                LoadLevels(levels, c / 4 + 3)};
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const int8x16_t inputs = vld1q_s8(x.values + t * x.columns + c);
      sums[t] = vdotq_laneq_s32(sums[t], words[0], inputs, 0);
      sums[t] = vdotq_laneq_s32(sums[t], words[1], inputs, 1);
      sums[t] = vdotq_laneq_s32(sums[t], words[2], inputs, 2);
      sums[t] = vdotq_laneq_s32(sums[t], words[3], inputs, 3);
    }
  }
}

template <int kTokens, int kStepColumns>
void MultiplyUnsigned(const LevelTile& tile, const ActivationView& x, float32x4_t* totals) {
  const float* const input_sums = kStepColumns == 32 ? x.block_sums : x.half_sums;
  for (int64_t step = 0; step < tile.columns / kStepColumns; ++step) {
    int32x4_t sums[kTokens];
    MultiplyColumns<kTokens, kStepColumns>(tile.levels, x, step * kStepColumns, sums);
    const float32x4_t steps = vld1q_f32(tile.steps + step * kLanes), offsets = vld1q_f32(tile.offsets + step * kLanes);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const float scale = x.scales[t * (x.columns / 32) + step * kStepColumns / 32];
      totals[t] = vfmaq_f32(totals[t], steps, vmulq_n_f32(vcvtq_f32_s32(sums[t]), scale));
      totals[t] = vfmaq_n_f32(totals[t], offsets, input_sums[t * (x.columns / kStepColumns) + step]);
    }
  }
}

// 16-bit levels in pairs of columns, times the wide activations.
template <int kTokens>
void MultiplySigned(const LevelTile& tile, const ActivationView& x, float32x4_t* totals) {
  const auto* const levels = reinterpret_cast<const int16_t*>(tile.levels);
  for (int64_t block = 0; block < tile.columns / 32; ++block) {
    int32x4_t sums[kTokens];
    for (int32x4_t& sum : sums) sum = vdupq_n_s32(0);
    for (int64_t c = 32 * block; c < 32 * (block + 1); c += 4) {
      const int16x4x2_t first = vld2_s16(levels + c * kLanes), second = vld2_s16(levels + (c + 2) * kLanes);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const int16x4_t inputs = vld1_s16(x.wide + t * x.columns + c);
        sums[t] = vmlal_lane_s16(sums[t], first.val[0], inputs, 0);
        sums[t] = vmlal_lane_s16(sums[t], first.val[1], inputs, 1);
        sums[t] = vmlal_lane_s16(sums[t], second.val[0], inputs, 2);
        sums[t] = vmlal_lane_s16(sums[t], second.val[1], inputs, 3);
      }
    }
    const float32x4_t steps = vld1q_f32(tile.steps + block * kLanes);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const float32x4_t scaled = vmulq_n_f32(vcvtq_f32_s32(sums[t]), x.scales[t * (x.columns / 32) + block]);
      totals[t] = vfmaq_f32(totals[t], steps, scaled);
    }
  }
}

template <int kTokens>
void MultiplyTokens(const LevelTile& tile, const ActivationView& x, float* sums) {
  float32x4_t totals[kTokens];
  for (int t = 0; t < kTokens; ++t) totals[t] = vld1q_f32(sums + t * kTileRows);
  switch (tile.range) {
    case LevelRange::kThreeBit:
    case LevelRange::kSixBit:
      MultiplyUnsigned<kTokens, 16>(tile, x, totals);
      break;
    case LevelRange::kFourBit:
    case LevelRange::kFiveBit:
      MultiplyUnsigned<kTokens, 32>(tile, x, totals);
      break;
    case LevelRange::kSigned:
      MultiplySigned<kTokens>(tile, x, totals);
      break;
    case LevelRange::kNone:
      break;
  }
  for (int t = 0; t < kTokens; ++t) vst1q_f32(sums + t * kTileRows, totals[t]);
}

void TransposeWords(const uint32_t* rows, int64_t stride, int64_t words, uint32_t* out) {
  for (int64_t w = 0; w < words; w += 4) {
    const uint32x4x4_t square = {vld1q_u32(rows + w), vld1q_u32(rows + stride + w), vld1q_u32(rows + 2 * stride + w),
                                 vld1q_u32(rows + 3 * stride + w)};
    vst4q_u32(out + w * kLanes, square);  // interleaves: the transpose
  }
}

// No type has a shortcut here: to turn four rows takes one instruction.
template <int kGroupLanes>
bool PackDirectly(BlockType, const std::byte*, int64_t, int64_t, int64_t, uint8_t*, float*, float*) {
  return false;
}

}  // namespace
}  // namespace fedglm
