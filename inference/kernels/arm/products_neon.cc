// NEON with the dot product of bytes: ARMv8.2 (Neoverse N1, Apple M1) and later.
#include "inference/kernels/product_kernels.h"

#include <arm_neon.h>

#include "inference/quantization/decode_blocks.h"

namespace fedglm {
namespace {

constexpr int kTokenBlock = 4;                            // 4 rows x 4 tokens: 16 of the 32 registers hold sums
constexpr int kGradientTokens = 6, kGradientVectors = 4;  // 24 of them

struct Vector {
  static constexpr int64_t kWidth = 4;
  using Register = float32x4_t;
  static Register Zero() { return vdupq_n_f32(0); }
  static Register Load(const float* p) { return vld1q_f32(p); }
  static void Store(float* p, Register x) { vst1q_f32(p, x); }
  static Register Broadcast(float x) { return vdupq_n_f32(x); }
  static Register MultiplyAdd(Register a, Register b, Register c) { return vfmaq_f32(c, a, b); }
  static uint16x4_t Load16Bits(const std::byte* p) { return vld1_u16(reinterpret_cast<const uint16_t*>(p)); }
  static Register LoadHalves(const std::byte* p) { return vcvt_f32_f16(vreinterpret_f16_u16(Load16Bits(p))); }
  static Register LoadBf16(const std::byte* p) { return vreinterpretq_f32_u32(vshll_n_u16(Load16Bits(p), 16)); }
  static float Sum(Register x) { return vaddvq_f32(x); }
};

}  // namespace
}  // namespace fedglm

#include "inference/kernels/arm/decode_dot_neon.h"
#include "inference/kernels/arm/level_tile_neon.h"

// Written once over the vectors that the headers above define.
#include "inference/kernels/level_tile.h"
#include "inference/kernels/tile_loops.h"

namespace fedglm {

constinit const ProductKernels kNeonProducts = {.decode_row = DecodeBlocksOf,
                                                .multiply_tile = MultiplyTile,
                                                .accumulate_tile = AccumulateTile,
                                                .quantize_row = QuantizeRow,
                                                .dot_rows = DotRows,
                                                .multiply_levels = MultiplyLevels};

}  // namespace fedglm
