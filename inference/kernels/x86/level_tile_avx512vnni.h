// The inner loops of level_tile.h in AVX-512 VNNI: 32 rows in two registers, and vpdpbusd, which multiplies unsigned
// levels with signed activations and adds four columns to a 32-bit sum. Included by products_avx512vnni.cc alone.
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

constexpr int kRegisters = 2;  // of 16 rows each
constexpr int kLanes = 16 * kRegisters;
constexpr int kTokenGroup = 6;  // 12 sums, 12 totals, 2 weights, 1 activation of 32 registers
constexpr int64_t kTileRows = kLevelTileRows;
constexpr int64_t kTileColumns = 512;

__m512i BroadcastWord(const void* from) {
  int32_t word;
  std::memcpy(&word, from, sizeof(word));
  return _mm512_set1_epi32(word);
}

// Keeps the compiler from computing all products first: there are not so many registers.
void KeepOrder(__m512i& value) { asm("" : "+v"(value)); }

template <int kTokens, int kStepColumns>
[[gnu::always_inline]] inline void MultiplySteps(const LevelTile& tile, const ActivationView& x,
                                                 __m512 (&totals)[kTokens][kRegisters]) {
  const float* const input_sums = kStepColumns == 32 ? x.block_sums : x.half_sums;
  for (int64_t step = 0; step < tile.columns / kStepColumns; ++step) {
    __m512i sums[kTokens][kRegisters];
#pragma GCC unroll 8
    for (int word = 0; word < kStepColumns / 4; ++word) {
      const int64_t column = step * kStepColumns + 4 * word;
      __m512i weights[kRegisters];
#pragma GCC unroll 2
      for (int r = 0; r < kRegisters; ++r) weights[r] = _mm512_load_si512(tile.levels + column * kLanes + 64 * r);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const __m512i inputs = BroadcastWord(x.values + t * x.columns + column);
#pragma GCC unroll 2
        for (int r = 0; r < kRegisters; ++r) {
          sums[t][r] = _mm512_dpbusd_epi32(word == 0 ? _mm512_setzero_si512() : sums[t][r], weights[r], inputs);
          KeepOrder(sums[t][r]);
        }
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < kRegisters; ++r) {
      const __m512 steps = _mm512_load_ps(tile.steps + step * kLanes + 16 * r);
      const __m512 offsets = _mm512_load_ps(tile.offsets + step * kLanes + 16 * r);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const __m512 scale = _mm512_set1_ps(x.scales[t * (x.columns / 32) + step * kStepColumns / 32]);
        const __m512 inputs = _mm512_set1_ps(input_sums[t * (x.columns / kStepColumns) + step]);
        totals[t][r] = _mm512_fmadd_ps(steps, _mm512_mul_ps(_mm512_cvtepi32_ps(sums[t][r]), scale), totals[t][r]);
        totals[t][r] = _mm512_fmadd_ps(offsets, inputs, totals[t][r]);
      }
    }
  }
}

// Signed levels times wide activations: two columns at once.
template <int kTokens>
[[gnu::always_inline]] inline void MultiplySigned(const LevelTile& tile, const ActivationView& x,
                                                  __m512 (&totals)[kTokens][kRegisters]) {
  for (int64_t block = 0; block < tile.columns / 32; ++block) {
    __m512i sums[kTokens][kRegisters];
#pragma GCC unroll 16
    for (int pair = 0; pair < 16; ++pair) {
      const int64_t column = block * 32 + 2 * pair;
      __m512i weights[kRegisters];
#pragma GCC unroll 2
      for (int r = 0; r < kRegisters; ++r) weights[r] = _mm512_load_si512(tile.levels + 2 * column * kLanes + 64 * r);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const __m512i inputs = BroadcastWord(x.wide + t * x.columns + column);
#pragma GCC unroll 2
        for (int r = 0; r < kRegisters; ++r) {
          sums[t][r] = _mm512_dpwssd_epi32(pair == 0 ? _mm512_setzero_si512() : sums[t][r], weights[r], inputs);
          KeepOrder(sums[t][r]);
        }
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < kRegisters; ++r) {
      const __m512 steps = _mm512_load_ps(tile.steps + block * kLanes + 16 * r);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const __m512 scale = _mm512_set1_ps(x.scales[t * (x.columns / 32) + block]);
        totals[t][r] = _mm512_fmadd_ps(steps, _mm512_mul_ps(_mm512_cvtepi32_ps(sums[t][r]), scale), totals[t][r]);
      }
    }
  }
}

template <int kTokens>
void MultiplyTokens(const LevelTile& tile, const ActivationView& x, float* sums) {
  __m512 totals[kTokens][kRegisters];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int r = 0; r < kRegisters; ++r) totals[t][r] = _mm512_loadu_ps(sums + t * kTileRows + 16 * r);
  }
  if (tile.range == LevelRange::kSigned) {
    MultiplySigned<kTokens>(tile, x, totals);
  } else if (tile.range == LevelRange::kThreeBit || tile.range == LevelRange::kSixBit) {
    MultiplySteps<kTokens, 16>(tile, x, totals);
  } else {
    MultiplySteps<kTokens, 32>(tile, x, totals);
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int r = 0; r < kRegisters; ++r) _mm512_storeu_ps(sums + t * kTileRows + 16 * r, totals[t][r]);
  }
}

void TransposeWords(const uint32_t* rows, int64_t stride, int64_t words, uint32_t* out) {
  for (int64_t w = 0; w < words; w += 8) {
    for (int r = 0; r < kLanes / 8; ++r) {
      TransposeSquare(rows + 8 * r * stride + w, stride, out + w * kLanes + 8 * r, kLanes);
    }
  }
}

}  // namespace
}  // namespace fedglm
