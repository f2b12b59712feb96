// AVX2 with FMA and F16C: x86-64 from 2013 on.
#include "inference/kernels/product_kernels.h"

#include <immintrin.h>

#include "inference/kernels/x86/load_avx2.h"
#include "inference/quantization/decode_blocks.h"

namespace fedglm {
namespace {

constexpr int kTokenBlock = 3;                            // 4 rows x 3 tokens: 12 of the 16 registers hold sums
constexpr int kGradientTokens = 6, kGradientVectors = 2;  // 12 as well

struct Vector {
  static constexpr int64_t kWidth = 8;
  using Register = __m256;
  static Register Zero() { return _mm256_setzero_ps(); }
  static Register Load(const float* p) { return _mm256_loadu_ps(p); }
  static void Store(float* p, Register x) { _mm256_storeu_ps(p, x); }
  static Register Broadcast(float x) { return _mm256_set1_ps(x); }
  static Register MultiplyAdd(Register a, Register b, Register c) { return _mm256_fmadd_ps(a, b, c); }
  static Register LoadHalves(const std::byte* p) { return _mm256_cvtph_ps(Load16(p)); }
  static Register LoadBf16(const std::byte* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(Load16(p)), 16));
  }
  static float Sum(Register x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
  }
};

}  // namespace
}  // namespace fedglm

#include "inference/kernels/x86/decode_dot_avx2.h"
#include "inference/kernels/x86/level_tile_avx2.h"

// Written once over the vectors that the headers above define.
#include "inference/kernels/level_tile.h"
#include "inference/kernels/tile_loops.h"

namespace fedglm {
namespace {

void DecodeHalfRow(const std::byte* blocks, float* weights, int64_t columns) {
  int64_t i = 0;
  for (; i + 8 <= columns; i += 8) Vector::Store(weights + i, Vector::LoadHalves(blocks + 2 * i));
  DecodeBlocksOf(BlockType::kF16, blocks + 2 * i, weights + i, columns - i);
}

void DecodeRowAvx2(BlockType type, const std::byte* blocks, float* weights, int64_t columns) {
  if (type == BlockType::kF16) return DecodeHalfRow(blocks, weights, columns);
  DecodeBlocksOf(type, blocks, weights, columns);
}

}  // namespace

constinit const ProductKernels kAvx2Products = {.decode_row = DecodeRowAvx2,
                                                .multiply_tile = MultiplyTile,
                                                .accumulate_tile = AccumulateTile,
                                                .quantize_row = QuantizeRow,
                                                .dot_rows = DotRows,
                                                .multiply_levels = MultiplyLevels};

}  // namespace fedglm
