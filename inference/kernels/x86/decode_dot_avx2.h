// Decode's way: a few rows of blocks times one token, straight from the file's blocks to registers, at the speed of
// memory. Included by products_avx2.cc alone.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "inference/kernels/levels.h"
#include "inference/kernels/quantized_activations.h"
#include "inference/kernels/unpack_levels.h"
#include "inference/kernels/x86/load_avx2.h"
#include "inference/kernels/x86/row_walk_avx2.h"
#include "inference/kernels/x86/six_bits_avx2.h"

namespace fedglm {
namespace {

__m256i Load32(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

__m256i Twice(const void* from) { return _mm256_broadcastsi128_si256(Load16(from)); }

float Sum8(__m256 x) { return SumFour(_mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1))); }

__m256i SumPairs(__m256i products) { return _mm256_madd_epi16(products, _mm256_set1_epi16(1)); }

// [s0 s0 s0 s0 s1 s1 s1 s1], and the same of s2 and s3.
__m256 SpreadLow(__m128 s) {
  return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(s), _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}
__m256 SpreadHigh(__m128 s) {
  return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(s), _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3));
}

// The half-precision numbers at one offset of four rows.
__m128 FourHalves(const std::byte* at, int64_t row_bytes) {
  __m128i halves = _mm_cvtsi32_si128(LoadHalf(at));
  halves = _mm_insert_epi16(halves, LoadHalf(at + row_bytes), 1);
  halves = _mm_insert_epi16(halves, LoadHalf(at + 2 * row_bytes), 2);
  halves = _mm_insert_epi16(halves, LoadHalf(at + 3 * row_bytes), 3);
  return _mm_cvtph_ps(halves);
}

// The nibbles of two rows' blocks times a block of activations, pairwise sums in 16 bits.
__m256i NibbleProducts(const std::byte* first, const std::byte* second, __m256i low_inputs, __m256i high_inputs) {
  const __m256i bytes = LoadPair(first, second), mask = _mm256_set1_epi8(15);
  const __m256i low = _mm256_and_si256(bytes, mask), high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask);
  return _mm256_add_epi16(_mm256_maddubs_epi16(low, low_inputs), _mm256_maddubs_epi16(high, high_inputs));
}

// Q4_0 and Q4_1, four rows: one scale, and an offset of -8 scales or a minimum of its own.
template <typename Block, bool kMinimum>
void DotNibbles(const std::byte* blocks, int64_t row_bytes, const ActivationView& x, float* y) {
  constexpr int64_t kNibbles = kMinimum ? 4 : 2;  // where they begin
  __m256 first = _mm256_setzero_ps(), second = _mm256_setzero_ps();
  __m128 offsets = _mm_setzero_ps();
  for (int64_t block = 0; block < x.columns / 32; ++block, blocks += sizeof(Block)) {
    const __m256i low = Twice(x.values + 32 * block), high = Twice(x.values + 32 * block + 16);
    const std::byte* const nibbles = blocks + kNibbles;
    const __m256i p = NibbleProducts(nibbles, nibbles + row_bytes, low, high);
    const __m256i q = NibbleProducts(nibbles + 2 * row_bytes, nibbles + 3 * row_bytes, low, high);
    const __m128 steps = FourHalves(blocks, row_bytes);
    const __m128 scaled = _mm_mul_ps(steps, _mm_broadcast_ss(x.scales + block));
    first = _mm256_fmadd_ps(_mm256_cvtepi32_ps(SumPairs(p)), SpreadLow(scaled), first);
    second = _mm256_fmadd_ps(_mm256_cvtepi32_ps(SumPairs(q)), SpreadHigh(scaled), second);
    const __m128 minimums = kMinimum ? FourHalves(blocks + 2, row_bytes) : steps;
    offsets = _mm_fmadd_ps(minimums, _mm_broadcast_ss(x.block_sums + block), offsets);
    if (block % 3 == 0) PrefetchNextRows(blocks, row_bytes);  // three blocks are nearly a cache line
  }
  alignas(16) float offset[4];
  _mm_store_ps(offset, kMinimum ? offsets : _mm_mul_ps(offsets, _mm_set1_ps(-8.0f)));
  y[0] = SumFour(_mm256_castps256_ps128(first)) + offset[0];
  y[1] = SumFour(_mm256_extractf128_ps(first, 1)) + offset[1];
  y[2] = SumFour(_mm256_castps256_ps128(second)) + offset[2];
  y[3] = SumFour(_mm256_extractf128_ps(second, 1)) + offset[3];
}

// 32 signed levels times wide activations, as eight 32-bit sums.
__m256i SignedSums(const void* levels, const int16_t* inputs) {
  const __m256i low = _mm256_madd_epi16(_mm256_cvtepi8_epi16(Load16(levels)), Load32(inputs));
  const __m256i high =
      _mm256_madd_epi16(_mm256_cvtepi8_epi16(Load16(static_cast<const int8_t*>(levels) + 16)), Load32(inputs + 16));
  return _mm256_add_epi32(low, high);
}

void DotQ8_0(const std::byte* blocks, int64_t row_bytes, const ActivationView& x, float* y) {
  __m256 sums[kDotRows] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int64_t block = 0; block < x.columns / 32; ++block, blocks += sizeof(BlockQ8_0)) {
    alignas(16) float scaled[4];
    _mm_store_ps(scaled, _mm_mul_ps(FourHalves(blocks, row_bytes), _mm_broadcast_ss(x.scales + block)));
    for (int64_t r = 0; r < kDotRows; ++r) {
      const __m256i products = SignedSums(blocks + r * row_bytes + 2, x.wide + 32 * block);
      sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), _mm256_broadcast_ss(scaled + r), sums[r]);
    }
    PrefetchNextRows(blocks, row_bytes);
  }
  for (int64_t r = 0; r < kDotRows; ++r) y[r] = Sum8(sums[r]) * (1.0f / kWideSteps);
}

float DotRowQ4_K(const std::byte* blocks, const ActivationView& x) {
  __m256 sum = _mm256_setzero_ps(), other = _mm256_setzero_ps(), offsets = _mm256_setzero_ps();
  const __m256i mask = _mm256_set1_epi8(15);
  const int8_t* inputs = x.values;
  for (int64_t block = 0; block < x.columns / 256; ++block, blocks += sizeof(BlockQ4_K), inputs += 256) {
    const auto* const b = reinterpret_cast<const BlockQ4_K*>(blocks);  // bytes, and halves read by LoadHalf
    const __m128i six = UnpackSixBits(b->scales);
    const __m256 steps =
        _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(six)), _mm256_set1_ps(HalfToFloat(LoadHalf(blocks))));
    const __m256 minimums = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(six, 8))),
                                          _mm256_set1_ps(HalfToFloat(LoadHalf(blocks + 2))));
    offsets = _mm256_fmadd_ps(minimums, _mm256_loadu_ps(x.block_sums + 8 * block), offsets);
    alignas(32) float scaled[8];
    _mm256_store_ps(scaled, _mm256_mul_ps(steps, _mm256_loadu_ps(x.scales + 8 * block)));
    for (int pair = 0; pair < 4; ++pair) {
      const __m256i bytes = Load32(b->quants + 32 * pair);
      const __m256i low = _mm256_maddubs_epi16(_mm256_and_si256(bytes, mask), Load32(inputs + 64 * pair));
      const __m256i high =
          _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask), Load32(inputs + 64 * pair + 32));
      sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(SumPairs(low)), _mm256_broadcast_ss(scaled + 2 * pair), sum);
      other = _mm256_fmadd_ps(_mm256_cvtepi32_ps(SumPairs(high)), _mm256_broadcast_ss(scaled + 2 * pair + 1), other);
    }
  }
  return Sum8(_mm256_sub_ps(_mm256_add_ps(sum, other), offsets));
}

float DotRowQ6_K(const std::byte* blocks, const ActivationView& x) {
  __m256 sum = _mm256_setzero_ps(), other = _mm256_setzero_ps(), offsets = _mm256_setzero_ps();
  const __m256i nibble = _mm256_set1_epi8(15), two_bits = _mm256_set1_epi8(3);
  const int8_t* inputs = x.values;
  for (int64_t block = 0; block < x.columns / 256; ++block, blocks += sizeof(BlockQ6_K), inputs += 256) {
    const auto* const b = reinterpret_cast<const BlockQ6_K*>(blocks);
    const __m256 d = _mm256_set1_ps(HalfToFloat(LoadHalf(blocks + offsetof(BlockQ6_K, scale))));
    const __m128i bytes = Load16(b->scales);
    const __m256 low_steps = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)));
    const __m256 high_steps = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))));
    offsets = _mm256_fmadd_ps(low_steps, _mm256_loadu_ps(x.half_sums + 16 * block), offsets);
    offsets = _mm256_fmadd_ps(high_steps, _mm256_loadu_ps(x.half_sums + 16 * block + 8), offsets);
    alignas(32) float steps[16];
    _mm256_store_ps(steps, low_steps);
    _mm256_store_ps(steps + 8, high_steps);
    for (int run = 0; run < 8; ++run) {
      const __m256i low = Load32(b->low_bits + run / 4 * 64 + run % 2 * 32), high = Load32(b->high_bits + run / 4 * 32);
      const int shift = 2 * (run % 4);
      const __m256i four = _mm256_and_si256(run % 4 < 2 ? low : _mm256_srli_epi16(low, 4), nibble);
      const __m256i two = _mm256_slli_epi16(_mm256_and_si256(_mm256_srli_epi16(high, shift), two_bits), 4);
      const __m256i products = _mm256_maddubs_epi16(_mm256_or_si256(four, two), Load32(inputs + 32 * run));
      const __m256 both = _mm256_set_m128(_mm_broadcast_ss(steps + 2 * run + 1), _mm_broadcast_ss(steps + 2 * run));
      const __m256 scaled = _mm256_mul_ps(both, _mm256_broadcast_ss(x.scales + 8 * block + run));
      __m256& total = run % 2 == 0 ? sum : other;
      total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(SumPairs(products)), scaled, total);
    }
  }
  return Sum8(_mm256_fmadd_ps(_mm256_set1_ps(-32.0f), offsets, _mm256_add_ps(sum, other)));
}

// Every other type: 256 columns become levels in the first-level cache.
template <int kStepColumns, bool kSigned>
float DotRowLevels(BlockType type, const std::byte* blocks, const ActivationView& x) {
  constexpr int kSteps = 32 / kStepColumns;  // in 32 columns
  alignas(32) uint8_t levels[256];
  float steps[8 * kSteps], offsets[8 * kSteps];
  const float* const input_sums = kStepColumns == 32 ? x.block_sums : x.half_sums;
  __m256 sum = _mm256_setzero_ps(), offset = _mm256_setzero_ps();
  float rest = 0;
  for (int64_t from = 0; from < x.columns; from += 256) {
    const int64_t columns = x.columns - from < 256 ? x.columns - from : 256;
    UnpackLevels(type, blocks + RowBytes(type, from), columns, levels, steps, offsets);
    for (int64_t block = 0; block < columns / 32; ++block) {
      const int64_t at = from + 32 * block;
      const __m256i products = kSigned
                                   ? SignedSums(levels + 32 * block, x.wide + at)
                                   : SumPairs(_mm256_maddubs_epi16(Load32(levels + 32 * block), Load32(x.values + at)));
      const float* const step = steps + kSteps * block;
      const __m256 both =
          kSteps == 1 ? _mm256_broadcast_ss(step) : _mm256_set_m128(_mm_broadcast_ss(step + 1), _mm_broadcast_ss(step));
      const __m256 scaled = _mm256_mul_ps(both, _mm256_broadcast_ss(x.scales + from / 32 + block));
      sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), scaled, sum);
    }
    if (kSigned) continue;  // no offsets
    const float* const sums = input_sums + from / kStepColumns;
    if (columns == 256) {
      for (int i = 0; i < 8 * kSteps; i += 8) {
        offset = _mm256_fmadd_ps(_mm256_loadu_ps(offsets + i), _mm256_loadu_ps(sums + i), offset);
      }
    } else {
      for (int64_t i = 0; i < columns / kStepColumns; ++i) rest += offsets[i] * sums[i];
    }
  }
  if (kSigned) return Sum8(sum) * (1.0f / kWideSteps);
  return Sum8(_mm256_add_ps(sum, offset)) + rest;
}

float DotRow(BlockType type, const std::byte* blocks, const ActivationView& x) {
  switch (type) {
    case BlockType::kQ4_K:
      return DotRowQ4_K(blocks, x);
    case BlockType::kQ6_K:
      return DotRowQ6_K(blocks, x);
    default:
      break;
  }
  switch (RangeOf(type)) {
    case LevelRange::kSigned:
      return DotRowLevels<32, true>(type, blocks, x);
    case LevelRange::kThreeBit:
      return DotRowLevels<16, false>(type, blocks, x);
    default:
      return DotRowLevels<32, false>(type, blocks, x);
  }
}

// y[r] = sum_c W[r][c] x[c] for `rows` rows, row_bytes apart.
void DotRows(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows, const ActivationView& x,
             float* y) {
  int64_t r = 0;
  for (; r + kDotRows <= rows; r += kDotRows) {
    const std::byte* const at = blocks + r * row_bytes;
    if (type == BlockType::kQ4_0) {
      DotNibbles<BlockQ4_0, false>(at, row_bytes, x, y + r);
    } else if (type == BlockType::kQ4_1) {
      DotNibbles<BlockQ4_1, true>(at, row_bytes, x, y + r);
    } else if (type == BlockType::kQ8_0) {
      DotQ8_0(at, row_bytes, x, y + r);
    } else {
      for (int64_t i = 0; i < kDotRows; ++i) y[r + i] = DotRow(type, at + i * row_bytes, x);
    }
  }
  for (; r < rows; ++r) y[r] = DotRow(type, blocks + r * row_bytes, x);
}

}  // namespace
}  // namespace fedglm
