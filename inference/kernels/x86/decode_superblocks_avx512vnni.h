// Decode's way for Q4_K, Q5_K and Q6_K, in AVX-512 VNNI: 64 weights a register, row by row. Included by
// decode_dot_avx512vnni.h alone.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "inference/kernels/quantized_activations.h"
#include "inference/kernels/x86/load_avx2.h"
#include "inference/kernels/x86/six_bits_avx2.h"
#include "inference/quantization/blocks.h"
#include "inference/quantization/half.h"

namespace fedglm {
namespace {

// 32 bytes, in both halves.
__m512i LoadTwice(const uint8_t* from) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

// `low` in the 32-bit lanes of the lower half, `high` in those of the upper one.
__m512i Halves(int32_t low, int32_t high) {
  return _mm512_setr_epi32(low, low, low, low, low, low, low, low, high, high, high, high, high, high, high, high);
}
// Shifts of 16-bit lanes.
__m512i HalvesOfWords(int32_t low, int32_t high) { return Halves(low * 0x10001, high * 0x10001); }

// Rows follow each other: a page ahead is what is read next, and no stream that the hardware follows leads into it.
template <typename Block>
void PrefetchBlockAhead(const std::byte* block) {
  constexpr size_t kAhead = 4096, kLine = 64;
  for (size_t at = 0; at < sizeof(Block); at += kLine) {
    _mm_prefetch(reinterpret_cast<const char*>(block + kAhead + at), _MM_HINT_T1);
  }
}

// Q4_K and Q5_K: eight steps and minimums of 32 weights each.
template <typename Block>
float DotRowWithMinimums(const std::byte* row, const ActivationView& x) {
  constexpr bool kFifthBits = requires(Block block) { block.high_bits; };
  const __m512i four_bits = _mm512_set1_epi8(15), fifth_bit = _mm512_set1_epi8(16), upper_nibbles = HalvesOfWords(0, 4);
  __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()}, offsets = _mm512_setzero_ps();
  const int8_t* values = x.values;
  for (int64_t block = 0; block < x.columns / 256; ++block, row += sizeof(Block), values += 256) {
    const auto* const b = reinterpret_cast<const Block*>(row);  // bytes, and halves read as bytes
    PrefetchBlockAhead<Block>(row);
    // Of the steps in the lower half of registers, of the minimums in the upper one.
    int32_t scale_and_minimum;
    std::memcpy(&scale_and_minimum, row, sizeof(scale_and_minimum));
    const __m512 factors = _mm512_permutexvar_ps(
        Halves(0, 1), _mm512_cvtph_ps(_mm256_castsi128_si256(_mm_cvtsi32_si128(scale_and_minimum))));
    const __m512 six_bits = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(UnpackSixBits(b->scales)));
    const __m512 inputs = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(x.scales + 8 * block)),
                                             _mm256_loadu_ps(x.block_sums + 8 * block), 1);
    const __m512 scaled = _mm512_mul_ps(_mm512_mul_ps(six_bits, factors), inputs);
    offsets = _mm512_add_ps(offsets, scaled);
    __m512i fifth = _mm512_setzero_si512();
    if constexpr (kFifthBits) fifth = LoadTwice(b->high_bits);
#pragma GCC unroll 4
    for (int pair = 0; pair < 4; ++pair) {
      const __m512i bytes = _mm512_srlv_epi16(LoadTwice(b->quants + 32 * pair), upper_nibbles);
      __m512i levels = _mm512_and_si512(bytes, four_bits);
      if constexpr (kFifthBits) {
        // Bit i of a byte to bit 4, by a rotation of four bytes.
        const __m512i turned = _mm512_rolv_epi32(fifth, Halves((36 - 2 * pair) % 32, (35 - 2 * pair) % 32));
        levels = _mm512_or_si512(levels, _mm512_and_si512(turned, fifth_bit));
      }
      const __m512i products =
          _mm512_dpbusd_epi32(_mm512_setzero_si512(), levels, _mm512_loadu_si512(values + 64 * pair));
      const __m512 spread = _mm512_permutexvar_ps(Halves(2 * pair, 2 * pair + 1), scaled);
      sums[pair % 2] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), spread, sums[pair % 2]);
    }
  }
  const __m512 minimums = _mm512_maskz_mov_ps(0xFF00, offsets);
  return _mm512_reduce_add_ps(_mm512_sub_ps(_mm512_add_ps(sums[0], sums[1]), minimums));
}

// 16 steps of 16 weights each; levels are 32 too large.
float DotRowQ6_K512(const std::byte* row, const ActivationView& x) {
  const __m512i four_bits = _mm512_set1_epi8(15), two_bits = _mm512_set1_epi8(0x30);
  const __m512i each_twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()}, offsets = _mm512_setzero_ps();
  const int8_t* values = x.values;
  for (int64_t block = 0; block < x.columns / 256; ++block, row += sizeof(BlockQ6_K), values += 256) {
    const auto* const b = reinterpret_cast<const BlockQ6_K*>(row);
    PrefetchBlockAhead<BlockQ6_K>(row);
    const __m512 d = _mm512_set1_ps(HalfToFloat(LoadHalf(row + offsetof(BlockQ6_K, scale))));
    const __m512 steps = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(Load16(b->scales))), d);
    offsets = _mm512_fmadd_ps(steps, _mm512_loadu_ps(x.half_sums + 16 * block), offsets);
    const __m512 inputs = _mm512_castps256_ps512(_mm256_loadu_ps(x.scales + 8 * block));
    const __m512 scaled = _mm512_mul_ps(steps, _mm512_permutexvar_ps(each_twice, inputs));
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m512i low = _mm512_loadu_si512(b->low_bits + 64 * half), high = LoadTwice(b->high_bits + 32 * half);
      // 64 weights have the lower nibbles and bits 0 to 3 of `high`, 64 the upper ones and bits 4 to 7.
      const __m512i shifted[2] = {_mm512_sllv_epi16(high, HalvesOfWords(4, 2)),
                                  _mm512_srlv_epi16(high, HalvesOfWords(0, 2))};
      const __m512i nibbles[2] = {low, _mm512_srli_epi16(low, 4)};
#pragma GCC unroll 2
      for (int part = 0; part < 2; ++part) {
        const __m512i levels =
            _mm512_or_si512(_mm512_and_si512(nibbles[part], four_bits), _mm512_and_si512(shifted[part], two_bits));
        const __m512i inputs_of_part = _mm512_loadu_si512(values + 128 * half + 64 * part);
        const __m512i products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), levels, inputs_of_part);
        const int first = 8 * half + 4 * part;
        const __m512i spread =
            _mm512_setr_epi32(first, first, first, first, first + 1, first + 1, first + 1, first + 1, first + 2,
                              first + 2, first + 2, first + 2, first + 3, first + 3, first + 3, first + 3);
        sums[part] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), _mm512_permutexvar_ps(spread, scaled), sums[part]);
      }
    }
  }
  const __m512 levels_total = _mm512_add_ps(sums[0], sums[1]);
  return _mm512_reduce_add_ps(_mm512_fmadd_ps(_mm512_set1_ps(-32.0f), offsets, levels_total));
}

}  // namespace
}  // namespace fedglm
