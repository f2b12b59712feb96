// The inner loops of level_tile.h in AVX2: eight rows in a register, products of unsigned levels with signed
// activations summed in 16 bits as long as they fit. Included by products_avx2.cc alone.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "inference/kernels/levels.h"
#include "inference/kernels/product_kernels.h"
#include "inference/kernels/quantized_activations.h"
#include "inference/kernels/x86/pack_nibbles_avx2.h"
#include "inference/kernels/x86/transpose_avx2.h"

namespace fedglm {
namespace {

constexpr int kRegisters = 2;  // of eight rows each: an activation once broadcast meets both
constexpr int kLanes = 8 * kRegisters;
constexpr int kTokenGroup = 4;
constexpr int64_t kTileRows = kLevelTileRows;
constexpr int64_t kTileColumns = 512;

// Four bytes in every lane.
__m256i BroadcastWord(const void* from) {
  int32_t word;
  std::memcpy(&word, from, sizeof(word));
  return _mm256_set1_epi32(word);
}

// GCC would compute all products of a block first and add them up afterwards: far more than there are registers.
void KeepOrder(__m256i& value) { asm("" : "+x"(value)); }

// One register of rows for each token.
template <int kTokens>
using IntegerSums = __m256i[kTokens][kRegisters];
template <int kTokens>
using FloatSums = __m256[kTokens][kRegisters];

__m256i LoadWeights(const uint8_t* levels, int64_t word, int r) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(levels) + word * kRegisters + r);
}

// The products of kWords * 4 columns, as 32-bit sums of four columns. kWords * 2 products of the range fit 16 bits.
template <int kTokens, int kWords>
[[gnu::always_inline]] inline void MultiplyWords(const uint8_t* levels, const ActivationView& x, int64_t column,
                                                 IntegerSums<kTokens>& sums) {
#pragma GCC unroll 8
  for (int word = 0; word < kWords; ++word) {
    __m256i weights[kRegisters];
#pragma GCC unroll 8
    for (int r = 0; r < kRegisters; ++r) weights[r] = LoadWeights(levels, column / 4 + word, r);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const __m256i inputs = BroadcastWord(x.values + t * x.columns + column + 4 * word);
#pragma GCC unroll 8
      for (int r = 0; r < kRegisters; ++r) {
        const __m256i product = _mm256_maddubs_epi16(weights[r], inputs);
        sums[t][r] = word == 0 ? product : _mm256_add_epi16(sums[t][r], product);
        KeepOrder(sums[t][r]);
      }
    }
  }
  for (auto& token : sums) {
    for (__m256i& sum : token) sum = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
  }
}

// totals += step * scale * sums + offset * (the activations' sum).
template <int kTokens>
[[gnu::always_inline]] inline void AddScaled(const LevelTile& tile, int64_t step, const IntegerSums<kTokens>& sums,
                                             const float* scales, int64_t scale_stride, const float* input_sums,
                                             int64_t sum_stride, FloatSums<kTokens>& totals) {
#pragma GCC unroll 8
  for (int r = 0; r < kRegisters; ++r) {
    const __m256 steps = _mm256_load_ps(tile.steps + step * kLanes + 8 * r);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const __m256 scale = _mm256_broadcast_ss(scales + t * scale_stride);
      const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[t][r]), scale);
      totals[t][r] = _mm256_fmadd_ps(steps, scaled, totals[t][r]);
    }
    if (input_sums == nullptr) continue;  // signed levels have no offset
    const __m256 offsets = _mm256_load_ps(tile.offsets + step * kLanes + 8 * r);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      totals[t][r] = _mm256_fmadd_ps(offsets, _mm256_broadcast_ss(input_sums + t * sum_stride), totals[t][r]);
    }
  }
}

// The products of kWords * 4 columns fit 16 bits.
template <int kTokens, int kStepColumns, int kWords>
[[gnu::always_inline]] inline void MultiplyUnsigned(const LevelTile& tile, const ActivationView& x,
                                                    FloatSums<kTokens>& totals) {
  const float* const input_sums = kStepColumns == 32 ? x.block_sums : x.half_sums;
  for (int64_t step = 0; step < tile.columns / kStepColumns; ++step) {
    IntegerSums<kTokens> sums;
    MultiplyWords<kTokens, kWords>(tile.levels, x, kStepColumns * step, sums);
    for (int word = kWords; word < kStepColumns / 4; word += kWords) {
      IntegerSums<kTokens> more;
      MultiplyWords<kTokens, kWords>(tile.levels, x, kStepColumns * step + 4 * word, more);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
        for (int r = 0; r < kRegisters; ++r) sums[t][r] = _mm256_add_epi32(sums[t][r], more[t][r]);
      }
    }
    AddScaled<kTokens>(tile, step, sums, x.scales + step * kStepColumns / 32, x.columns / 32, input_sums + step,
                       x.columns / kStepColumns, totals);
  }
}

template <int kTokens>
[[gnu::always_inline]] inline void MultiplySigned(const LevelTile& tile, const ActivationView& x,
                                                  FloatSums<kTokens>& totals) {
  for (int64_t block = 0; block < tile.columns / 32; ++block) {
    IntegerSums<kTokens> sums;
#pragma GCC unroll 16
    for (int pair = 0; pair < 16; ++pair) {
      __m256i weights[kRegisters];
#pragma GCC unroll 8
      for (int r = 0; r < kRegisters; ++r) weights[r] = LoadWeights(tile.levels, 16 * block + pair, r);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const __m256i inputs = BroadcastWord(x.wide + t * x.columns + 32 * block + 2 * pair);
#pragma GCC unroll 8
        for (int r = 0; r < kRegisters; ++r) {
          const __m256i product = _mm256_madd_epi16(weights[r], inputs);
          sums[t][r] = pair == 0 ? product : _mm256_add_epi32(sums[t][r], product);
          KeepOrder(sums[t][r]);
        }
      }
    }
    AddScaled<kTokens>(tile, block, sums, x.scales + block, x.columns / 32, nullptr, 0, totals);
  }
}

template <int kTokens>
void MultiplyTokens(const LevelTile& tile, const ActivationView& x, float* sums) {
  FloatSums<kTokens> totals;
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
    for (int r = 0; r < kRegisters; ++r) totals[t][r] = _mm256_loadu_ps(sums + t * kTileRows + 8 * r);
  }
  switch (tile.range) {
    case LevelRange::kThreeBit:
      MultiplyUnsigned<kTokens, 16, 4>(tile, x, totals);
      break;
    case LevelRange::kFourBit:
      MultiplyUnsigned<kTokens, 32, 8>(tile, x, totals);
      break;
    case LevelRange::kFiveBit:
      MultiplyUnsigned<kTokens, 32, 4>(tile, x, totals);
      break;
    case LevelRange::kSixBit:
      MultiplyUnsigned<kTokens, 16, 2>(tile, x, totals);
      break;
    case LevelRange::kSigned:
      MultiplySigned<kTokens>(tile, x, totals);
      break;
    case LevelRange::kNone:
      break;
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
    for (int r = 0; r < kRegisters; ++r) _mm256_storeu_ps(sums + t * kTileRows + 8 * r, totals[t][r]);
  }
}

void TransposeWords(const uint32_t* rows, int64_t stride, int64_t words, uint32_t* out) {
  for (int64_t w = 0; w < words; w += 8) {
#pragma GCC unroll 8
    for (int r = 0; r < kRegisters; ++r) {
      TransposeSquare(rows + 8 * r * stride + w, stride, out + w * kLanes + 8 * r, kLanes);
    }
  }
}

}  // namespace
}  // namespace fedglm
