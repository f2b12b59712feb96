// A shortcut of level_tile.h for blocks of one scale and 32 nibbles: eight rows go from the file's blocks to the tile
// through registers, with no copy by rows in between. With eight tokens half of the time went into that copy.
// Internal linkage.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "inference/kernels/levels.h"
#include "inference/kernels/x86/load_avx2.h"
#include "inference/quantization/block_type.h"
#include "inference/quantization/blocks.h"

namespace fedglm {
namespace {

using EightRows = const std::byte* [8];

// Word w of each row's 16 bytes (four low nibbles, four high ones) goes to low + w * stride and high + w * stride.
void SplitEightRows(const EightRows& rows, int64_t offset, uint8_t* low, uint8_t* high, int64_t stride) {
  __m256i pairs[4];  // row r in one half, r + 4 in the other
  for (int r = 0; r < 4; ++r) pairs[r] = LoadPair(rows[r] + offset, rows[r + 4] + offset);
  const __m256i first = _mm256_unpacklo_epi32(pairs[0], pairs[1]), second = _mm256_unpacklo_epi32(pairs[2], pairs[3]);
  const __m256i third = _mm256_unpackhi_epi32(pairs[0], pairs[1]), fourth = _mm256_unpackhi_epi32(pairs[2], pairs[3]);
  const __m256i words[4] = {_mm256_unpacklo_epi64(first, second), _mm256_unpackhi_epi64(first, second),
                            _mm256_unpacklo_epi64(third, fourth), _mm256_unpackhi_epi64(third, fourth)};
  const __m256i mask = _mm256_set1_epi8(15);
  for (int w = 0; w < 4; ++w) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(low + w * stride), _mm256_and_si256(words[w], mask));
    _mm256_store_si256(reinterpret_cast<__m256i*>(high + w * stride),
                       _mm256_and_si256(_mm256_srli_epi16(words[w], 4), mask));
  }
}

// The half-precision number at one offset of each row.
__m256 EightHalves(const EightRows& rows, int64_t offset) {
  __m128i halves = _mm_cvtsi32_si128(LoadHalf(rows[0] + offset));
  halves = _mm_insert_epi16(halves, LoadHalf(rows[1] + offset), 1);
  halves = _mm_insert_epi16(halves, LoadHalf(rows[2] + offset), 2);
  halves = _mm_insert_epi16(halves, LoadHalf(rows[3] + offset), 3);
  halves = _mm_insert_epi16(halves, LoadHalf(rows[4] + offset), 4);
  halves = _mm_insert_epi16(halves, LoadHalf(rows[5] + offset), 5);
  halves = _mm_insert_epi16(halves, LoadHalf(rows[6] + offset), 6);
  halves = _mm_insert_epi16(halves, LoadHalf(rows[7] + offset), 7);
  return _mm256_cvtph_ps(halves);
}

// Rows of one type of block to levels [columns / 4][kGroupLanes][4], steps and offsets [columns / 32][kGroupLanes].
template <typename Block, int kGroupLanes>
void PackNibbles(const std::byte* blocks, int64_t row_bytes, int64_t rows, int64_t columns, uint8_t* levels,
                 float* steps, float* offsets) {
  constexpr bool kMinimum = sizeof(Block) == sizeof(BlockQ4_1);
  constexpr int64_t kNibbles = kMinimum ? 4 : 2;  // where they begin
  constexpr int64_t kWord = 4 * kGroupLanes;
  for (int lane = 0; lane < kGroupLanes; lane += 8) {
    EightRows at;
    for (int r = 0; r < 8; ++r) at[r] = blocks + std::min<int64_t>(lane + r, rows - 1) * row_bytes;
    for (int64_t block = 0; block < columns / 32; ++block) {
      const int64_t offset = block * static_cast<int64_t>(sizeof(Block));
      uint8_t* const out = levels + 8 * block * kWord + 4 * lane;
      SplitEightRows(at, offset + kNibbles, out, out + 4 * kWord, kWord);
      const __m256 step = EightHalves(at, offset);
      _mm256_store_ps(steps + block * kGroupLanes + lane, step);
      _mm256_store_ps(offsets + block * kGroupLanes + lane,
                      kMinimum ? EightHalves(at, offset + 2) : _mm256_mul_ps(step, _mm256_set1_ps(-8.0f)));
    }
  }
}

// False for a type that has no shortcut.
template <int kGroupLanes>
bool PackDirectly(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows, int64_t columns,
                  uint8_t* levels, float* steps, float* offsets) {
  switch (type) {
    case BlockType::kQ4_0:
      PackNibbles<BlockQ4_0, kGroupLanes>(blocks, row_bytes, rows, columns, levels, steps, offsets);
      return true;
    case BlockType::kQ4_1:
      PackNibbles<BlockQ4_1, kGroupLanes>(blocks, row_bytes, rows, columns, levels, steps, offsets);
      return true;
    default:
      return false;
  }
}

}  // namespace
}  // namespace fedglm
