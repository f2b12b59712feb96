// AVX-512 (F, BW, VL, DQ): Skylake-SP, Zen 4 and later.
#include "inference/kernels/product_kernels.h"

#include <immintrin.h>

#include "inference/quantization/decode_blocks.h"

namespace fedglm {
namespace {

constexpr int kTokenBlock = 6;                            // 4 rows x 6 tokens: 24 of the 32 registers hold sums
constexpr int kGradientTokens = 8, kGradientVectors = 3;  // 24 as well

struct Vector {
  static constexpr int64_t kWidth = 16;
  using Register = __m512;
  static Register Zero() { return _mm512_setzero_ps(); }
  static Register Load(const float* p) { return _mm512_loadu_ps(p); }
  static void Store(float* p, Register x) { _mm512_storeu_ps(p, x); }
  static Register Broadcast(float x) { return _mm512_set1_ps(x); }
  static Register MultiplyAdd(Register a, Register b, Register c) { return _mm512_fmadd_ps(a, b, c); }
  static __m256i Load16Bits(const std::byte* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Register LoadHalves(const std::byte* p) { return _mm512_cvtph_ps(Load16Bits(p)); }
  static Register LoadBf16(const std::byte* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(Load16Bits(p)), 16));
  }
  static float Sum(Register x) { return _mm512_reduce_add_ps(x); }
};

}  // namespace
}  // namespace fedglm

#include "inference/kernels/tile_loops.h"

namespace fedglm {
namespace {

void DecodeHalfRow(const std::byte* blocks, float* weights, int64_t columns) {
  int64_t i = 0;
  for (; i + 16 <= columns; i += 16) Vector::Store(weights + i, Vector::LoadHalves(blocks + 2 * i));
  DecodeBlocksOf(BlockType::kF16, blocks + 2 * i, weights + i, columns - i);
}

void DecodeRowAvx512(BlockType type, const std::byte* blocks, float* weights, int64_t columns) {
  if (type == BlockType::kF16) return DecodeHalfRow(blocks, weights, columns);
  DecodeBlocksOf(type, blocks, weights, columns);
}

}  // namespace

// Without VNNI, 512 bits win nothing for integers: those stay AVX2's.
constinit const ProductKernels kAvx512Products = {
    .decode_row = DecodeRowAvx512, .multiply_tile = MultiplyTile, .accumulate_tile = AccumulateTile};

}  // namespace fedglm
