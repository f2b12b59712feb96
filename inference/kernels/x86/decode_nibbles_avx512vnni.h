// Decode's way for blocks of one scale and 32 nibbles, in AVX-512 VNNI: a block of four rows fills a register, which is
// half of the instructions of decode_dot_avx2.h. Where the processor is slow and the memory is not, decode waits for
// these. Included by decode_dot_avx512vnni.h alone.
#pragma once

#include <immintrin.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "inference/kernels/quantized_activations.h"
#include "inference/kernels/x86/load_avx2.h"
#include "inference/kernels/x86/row_walk_avx2.h"
#include "inference/quantization/blocks.h"

namespace fedglm {
namespace {

constexpr int64_t kDotBlocks = 4;  // of each row at once: their 16 scales become floats together

template <typename Block>
constexpr bool kHasMinimum = requires(Block block) {
  block.minimum;
};

// For four successive blocks of a row, the words that hold their first halves, the scales; in the upper half of the
// register those that follow, the minimums. The same in each quarter.
template <typename Block>
__m512i PlacesOfHalves() {
  alignas(64) static constexpr auto places = [] {
    std::array<uint16_t, 32> words = {};
    for (size_t i = 0; i < words.size(); ++i) words[i] = static_cast<uint16_t>(i % 4 * (sizeof(Block) / 2) + i / 16);
    return words;
  }();
  return _mm512_load_si512(places.data());
}

// 16 bytes of four rows.
__m512i LoadFour(const std::byte* at, int64_t row_bytes) {
  __m512i rows = _mm512_castsi128_si512(Load16(at));
  rows = _mm512_mask_broadcast_i32x4(rows, 0x00F0, Load16(at + row_bytes));
  rows = _mm512_mask_broadcast_i32x4(rows, 0x0F00, Load16(at + 2 * row_bytes));
  return _mm512_mask_broadcast_i32x4(rows, 0xF000, Load16(at + 3 * row_bytes));
}

// Four rows' sums, each in its quarter of a register.
struct NibbleSums {
  __m512 products = _mm512_setzero_ps();  // of levels and activations, times the scales
  __m512 offsets = _mm512_setzero_ps();   // of minimums (scales where there are none) and the activations' sums
};

// Adds kBlocks blocks of each row; the activations' pointers are at the first of them. Nothing beyond is read.
template <typename Block, int kBlocks>
[[gnu::always_inline]] inline void AddBlocks(const std::byte* blocks, int64_t row_bytes, const int8_t* values,
                                             const float* scales, const float* block_sums, NibbleSums& sums) {
  constexpr int kWords = kBlocks * static_cast<int>(sizeof(Block)) / 2;
  constexpr __mmask32 kRead = kWords >= 32 ? ~__mmask32{0} : (__mmask32{1} << (kWords % 32)) - 1;
  constexpr __mmask8 kFloats = (1 << kBlocks) - 1;
  const __m512i places = PlacesOfHalves<Block>();
  __m512i halves = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (int r = 0; r < kDotRows; ++r) {
    const __m512i row = _mm512_maskz_loadu_epi16(kRead, blocks + r * row_bytes);
    halves =
        _mm512_mask_permutexvar_epi16(halves, (kHasMinimum<Block> ? 0x000F000Fu : 0x0000000Fu) << (4 * r), places, row);
  }
  const __m512 steps = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
  const __m512 minimums = kHasMinimum<Block> ? _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1)) : steps;
  const __m512 scaled = _mm512_mul_ps(steps, _mm512_broadcast_f32x4(_mm_maskz_loadu_ps(kFloats, scales)));
  sums.offsets =
      _mm512_fmadd_ps(minimums, _mm512_broadcast_f32x4(_mm_maskz_loadu_ps(kFloats, block_sums)), sums.offsets);
  const __m512i mask = _mm512_set1_epi8(15),
                first = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
#pragma GCC unroll 4
  for (int b = 0; b < kBlocks; ++b) {
    const auto* const at = blocks + b * static_cast<int64_t>(sizeof(Block)) + offsetof(Block, nibbles);
    const __m512i bytes = LoadFour(at, row_bytes);
    const __m512i low = _mm512_and_si512(bytes, mask), high = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
    __m512i products =
        _mm512_dpbusd_epi32(_mm512_setzero_si512(), low, _mm512_broadcast_i32x4(Load16(values + 32 * b)));
    products = _mm512_dpbusd_epi32(products, high, _mm512_broadcast_i32x4(Load16(values + 32 * b + 16)));
    const __m512 spread = _mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(b)), scaled);
    sums.products = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), spread, sums.products);
  }
}

// y[r] = sum_c W[r][c] x[c] for four rows.
template <typename Block>
void DotFourRows(const std::byte* blocks, int64_t row_bytes, const ActivationView& x, float* y) {
  NibbleSums sums;
  const int8_t* values = x.values;
  const float *scales = x.scales, *block_sums = x.block_sums;
  constexpr int64_t kLine = 64;
  int64_t left = x.columns / 32;
  for (; left >= kDotBlocks; left -= kDotBlocks) {
    AddBlocks<Block, kDotBlocks>(blocks, row_bytes, values, scales, block_sums, sums);
    PrefetchNextRows(blocks, row_bytes);
    PrefetchNextRows(blocks + kLine, row_bytes);  // four blocks are more than a cache line
    blocks += kDotBlocks * static_cast<int64_t>(sizeof(Block));
    values += kDotBlocks * 32, scales += kDotBlocks, block_sums += kDotBlocks;
  }
  switch (left) {
    case 3:
      AddBlocks<Block, 3>(blocks, row_bytes, values, scales, block_sums, sums);
      break;
    case 2:
      AddBlocks<Block, 2>(blocks, row_bytes, values, scales, block_sums, sums);
      break;
    case 1:
      AddBlocks<Block, 1>(blocks, row_bytes, values, scales, block_sums, sums);
      break;
    default:
      break;
  }
  constexpr float kOffset = kHasMinimum<Block> ? 1.0f : -8.0f;
  const __m512 total = _mm512_fmadd_ps(sums.offsets, _mm512_set1_ps(kOffset), sums.products);
  y[0] = SumFour(_mm512_castps512_ps128(total));
  y[1] = SumFour(_mm512_extractf32x4_ps(total, 1));
  y[2] = SumFour(_mm512_extractf32x4_ps(total, 2));
  y[3] = SumFour(_mm512_extractf32x4_ps(total, 3));
}

}  // namespace
}  // namespace fedglm
