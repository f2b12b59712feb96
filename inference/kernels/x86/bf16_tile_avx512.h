// Rows of BF16 as they lie in the file, times float32 activations, by AVX-512 BF16: an instruction multiplies 32 pairs
// and adds them up in float32.
//
// Activations are not rounded to BF16, which costs llama.cpp its error: each is the sum of two BF16 numbers, its own
// leading eight bits and those of the rest, to within 2^-17 of it, and both are multiplied. That takes as many
// instructions as decoded weights take in float32; what is won is the decoding, and the loads of weights twice as wide.
// Internal linkage, as in tile_loops.h.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "inference/kernels/thread_buffer.h"
#include "inference/kernels/tile_blocks.h"

namespace fedglm {
namespace {

constexpr int64_t kBf16Width = 32;    // numbers in a register
constexpr int64_t kSplitTokens = 24;  // whose parts stay in the second-level cache while the rows pass by
constexpr int kBf16Tokens = 6;        // with 4 rows, 24 of the 32 registers hold sums

__mmask16 First16(int64_t count) {
  return static_cast<__mmask16>((uint32_t{1} << std::clamp<int64_t>(count, 0, 16)) - 1);
}

__mmask32 First32(int64_t count) {
  return static_cast<__mmask32>((uint64_t{1} << std::clamp<int64_t>(count, 0, 32)) - 1);
}

// In whole registers.
int64_t SplitWidth(int64_t columns) { return (columns + kBf16Width - 1) / kBf16Width * kBf16Width; }

// Of each 32 floats: the high parts of 32, then the low ones; zero beyond the last. parts: [2 * SplitWidth(columns)].
void SplitRow(const float* x, int64_t columns, uint16_t* parts) {
  for (int64_t c = 0; c < columns; c += 16) {
    const __m512 value = _mm512_maskz_loadu_ps(First16(columns - c), x + c);
    const auto high = std::bit_cast<__m256i>(_mm512_cvtneps_pbh(value));
    const __m512 leading = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
    const auto low = std::bit_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_sub_ps(value, leading)));
    uint16_t* const to = parts + c / kBf16Width * 2 * kBf16Width + c % kBf16Width;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), high);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + kBf16Width), low);
  }
  if (columns % kBf16Width > 0 && columns % kBf16Width <= 16) {
    uint16_t* const last = parts + 2 * (SplitWidth(columns) - kBf16Width);
    std::fill_n(last + 16, 16, uint16_t{0});
    std::fill_n(last + kBf16Width + 16, 16, uint16_t{0});
  }
}

// kRows rows times kTokens tokens, all sums in registers. `parts` of one token are 2 * SplitWidth(columns) apart.
template <int kRows, int kTokens>
void MultiplyBf16Block(const std::byte* w, int64_t columns, const uint16_t* parts, float* y, int64_t y_stride) {
  const int64_t parts_stride = 2 * SplitWidth(columns);
  __m512 sums[kRows][kTokens];
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) sums[r][t] = _mm512_setzero_ps();
  }
  const auto add = [&](int64_t c, const auto& load) {
    __m512bh weights[kRows];
    for (int r = 0; r < kRows; ++r) weights[r] = std::bit_cast<__m512bh>(load(w + 2 * (r * columns + c)));
    for (int t = 0; t < kTokens; ++t) {
      const uint16_t* const at = parts + t * parts_stride + 2 * c;
      const auto high = std::bit_cast<__m512bh>(_mm512_loadu_si512(at));
      const auto low = std::bit_cast<__m512bh>(_mm512_loadu_si512(at + kBf16Width));
      for (int r = 0; r < kRows; ++r) {
        sums[r][t] = _mm512_dpbf16_ps(sums[r][t], weights[r], high);
        sums[r][t] = _mm512_dpbf16_ps(sums[r][t], weights[r], low);
      }
    }
  };
  int64_t c = 0;
  for (; c + kBf16Width <= columns; c += kBf16Width) {
    add(c, [](const std::byte* from) { return _mm512_loadu_si512(from); });
  }
  if (c < columns) {
    add(c, [&](const std::byte* from) { return _mm512_maskz_loadu_epi16(First32(columns - c), from); });
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) y[t * y_stride + r] = _mm512_reduce_add_ps(sums[r][t]);
  }
}

// ProductKernels::multiply_bf16
void MultiplyBf16(const std::byte* w, int64_t rows, int64_t columns, const float* x, int64_t tokens, float* y,
                  int64_t y_stride) {
  const int64_t parts_stride = 2 * SplitWidth(columns);
  thread_local ThreadBuffer<uint16_t> buffer;
  uint16_t* const parts = buffer.Room(std::min(tokens, kSplitTokens) * parts_stride);  // of a group of tokens
  for (int64_t first = 0; first < tokens; first += kSplitTokens) {
    const int64_t count = std::min(kSplitTokens, tokens - first);
    for (int64_t t = 0; t < count; ++t) SplitRow(x + (first + t) * columns, columns, parts + t * parts_stride);
    float* const out = y + first * y_stride;
    ForEachBlock<kBf16Tokens>(rows, count, [&]<int kRows, int kTokens>(int64_t row, int64_t token) {
      MultiplyBf16Block<kRows, kTokens>(w + 2 * row * columns, columns, parts + token * parts_stride,
                                        out + token * y_stride + row, y_stride);
    });
  }
}

}  // namespace
}  // namespace fedglm
