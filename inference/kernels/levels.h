// Quantized weights as integer levels: w = step * level + offset over each 16 columns, which is what every block type
// of GGUF is at heart. Included by each kernel file under its own compile flags: internal linkage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "inference/quantization/block_type.h"
#include "inference/quantization/blocks.h"
#include "inference/quantization/half.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace fedglm {
namespace {

// How large the levels of a type are, and so how many products of theirs fit 16 bits.
enum class LevelRange {
  kNone,      // a float type: no levels
  kThreeBit,  // 0…7, steps of 16 columns
  kFourBit,   // 0…15, of 32
  kFiveBit,   // 0…31, of 32
  kSixBit,    // 0…63, of 16
  kSigned,    // -127…127, of 32, and no offset
};

LevelRange RangeOf(BlockType type) {
  switch (type) {
    case BlockType::kQ2_K:
    case BlockType::kQ3_K:
      return LevelRange::kThreeBit;
    case BlockType::kQ4_0:
    case BlockType::kQ4_1:
    case BlockType::kQ4_K:
      return LevelRange::kFourBit;
    case BlockType::kQ5_0:
    case BlockType::kQ5_1:
    case BlockType::kQ5_K:
      return LevelRange::kFiveBit;
    case BlockType::kQ6_K:
      return LevelRange::kSixBit;
    case BlockType::kQ8_0:
    case BlockType::kIQ4_NL:
    case BlockType::kIQ4_XS:
      return LevelRange::kSigned;
    case BlockType::kF32:
    case BlockType::kF16:
    case BlockType::kBF16:
      break;
  }
  return LevelRange::kNone;
}

// Columns that share a step.
[[maybe_unused]] int StepColumns(BlockType type) {
  return RangeOf(type) == LevelRange::kThreeBit || RangeOf(type) == LevelRange::kSixBit ? 16 : 32;
}

// kTileRows rows of one column range, unpacked and turned so that rows lie across the lanes of registers.
struct LevelTile {
  LevelRange range;
  int64_t columns;
  const uint8_t* levels;  // [columns / 4][kLanes][4], or [columns / 2][kLanes][2] of int16_t for signed levels
  const float* steps;     // [columns / StepColumns][kLanes]
  const float* offsets;
};

// What the compiler does not find by itself. A block's 16 bytes of nibbles are its 32 levels, the low ones first; fifth
// bits are bit i of four bytes; a table of 16 bytes may be looked up for each nibble. Whole registers are stored: to
// load 32 bytes that were stored as two halves stalls.
#if defined(__AVX2__)
__m256i Nibbles(const uint8_t* nibbles) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(nibbles));
  const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), _mm_srli_epi16(bytes, 4), 1);
  return _mm256_and_si256(both, _mm256_set1_epi8(15));
}
void SplitNibbles(const uint8_t* nibbles, uint8_t* levels) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(levels), Nibbles(nibbles));
}
void SplitFiveBits(const uint8_t* nibbles, const uint8_t* fifth_bits, uint8_t* levels) {
  int32_t bits;
  std::memcpy(&bits, fifth_bits, sizeof(bits));
  // Byte i of the register gets the byte that holds bit i; then only that bit is looked at.
  const __m256i holder = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
  const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), holder);
  const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(levels),
                      _mm256_or_si256(Nibbles(nibbles), _mm256_and_si256(set, _mm256_set1_epi8(16))));
}
void LookUpNibbles(const uint8_t* nibbles, const int8_t* table, uint8_t* levels) {
  const __m256i values = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(levels), _mm256_shuffle_epi8(values, Nibbles(nibbles)));
}
// levels = (bytes >> shift) & mask, and levels |= ((bytes >> shift) & mask) << up, over 32 bytes. Shifted as 16 bits:
// what crosses a byte is masked out, and mask << up fits a byte.
void TakeBits(const uint8_t* bytes, int shift, uint8_t mask, uint8_t* levels) {
  const __m256i shifted = _mm256_srli_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)), shift);
  const __m256i taken = _mm256_and_si256(shifted, _mm256_set1_epi8(static_cast<char>(mask)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(levels), taken);
}
void AddBits(const uint8_t* bytes, int shift, uint8_t mask, int up, uint8_t* levels) {
  const __m256i shifted = _mm256_srli_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)), shift);
  const __m256i taken = _mm256_and_si256(shifted, _mm256_set1_epi8(static_cast<char>(mask)));
  __m256i* const at = reinterpret_cast<__m256i*>(levels);
  _mm256_storeu_si256(at, _mm256_or_si256(_mm256_loadu_si256(at), _mm256_slli_epi16(taken, up)));
}
#else
void TakeBits(const uint8_t* __restrict bytes, int shift, uint8_t mask, uint8_t* __restrict levels) {
  for (int i = 0; i < 32; ++i) levels[i] = static_cast<uint8_t>((bytes[i] >> shift) & mask);
}
void AddBits(const uint8_t* __restrict bytes, int shift, uint8_t mask, int up, uint8_t* __restrict levels) {
  for (int i = 0; i < 32; ++i) levels[i] = static_cast<uint8_t>(levels[i] | (((bytes[i] >> shift) & mask) << up));
}
void SplitNibbles(const uint8_t* __restrict nibbles, uint8_t* __restrict levels) {
  for (int i = 0; i < 16; ++i) levels[i] = nibbles[i] & 15;
  for (int i = 0; i < 16; ++i) levels[i + 16] = nibbles[i] >> 4;
}
void SplitFiveBits(const uint8_t* nibbles, const uint8_t* fifth_bits, uint8_t* levels) {
  uint32_t bits;
  std::memcpy(&bits, fifth_bits, sizeof(bits));
  SplitNibbles(nibbles, levels);
  for (int i = 0; i < 32; ++i) levels[i] = static_cast<uint8_t>(levels[i] | (((bits >> i) & 1) << 4));
}
void LookUpNibbles(const uint8_t* __restrict nibbles, const int8_t* table, uint8_t* __restrict levels) {
  for (int i = 0; i < 16; ++i) levels[i] = static_cast<uint8_t>(table[nibbles[i] & 15]);
  for (int i = 0; i < 16; ++i) levels[i + 16] = static_cast<uint8_t>(table[nibbles[i] >> 4]);
}
#endif

// levels[i] of block i's weights (int8_t or uint8_t by RangeOf, both written as bytes), and one step and offset for
// each StepColumns columns.
void Unpack(const BlockQ4_0& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  SplitNibbles(b.nibbles, levels);
  steps[0] = HalfToFloat(b.scale);
  offsets[0] = -8.0f * steps[0];
}

void Unpack(const BlockQ4_1& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  SplitNibbles(b.nibbles, levels);
  steps[0] = HalfToFloat(b.scale);
  offsets[0] = HalfToFloat(b.minimum);
}

void Unpack(const BlockQ5_0& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  SplitFiveBits(b.nibbles, b.high_bits, levels);
  steps[0] = HalfToFloat(b.scale);
  offsets[0] = -16.0f * steps[0];
}

void Unpack(const BlockQ5_1& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  SplitFiveBits(b.nibbles, b.high_bits, levels);
  steps[0] = HalfToFloat(b.scale);
  offsets[0] = HalfToFloat(b.minimum);
}

void Unpack(const BlockQ8_0& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  std::memcpy(levels, b.values, 32);
  steps[0] = HalfToFloat(b.scale);
  offsets[0] = 0;
}

void Unpack(const BlockIQ4_NL& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  LookUpNibbles(b.nibbles, kIq4Levels, levels);
  steps[0] = HalfToFloat(b.scale);
  offsets[0] = 0;
}

void Unpack(const BlockIQ4_XS& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  const float d = HalfToFloat(b.scale);
  for (int sub = 0; sub < 8; ++sub) {
    const int low = (b.scales_low[sub / 2] >> (4 * (sub % 2))) & 15, high = (b.scales_high >> (2 * sub)) & 3;
    LookUpNibbles(b.quants + sub * 16, kIq4Levels, levels + sub * 32);
    steps[sub] = d * static_cast<float>((low | (high << 4)) - 32);
    offsets[sub] = 0;
  }
}

// The eight steps and offsets of a Q4_K or Q5_K block.
template <typename Block>
void UnpackSteps(const Block& b, float* __restrict steps, float* __restrict offsets) {
  const float d = HalfToFloat(b.scale), m = HalfToFloat(b.minimum);
  for (int sub = 0; sub < 8; ++sub) {
    uint8_t scale, minimum;
    UnpackScaleAndMinimum(sub, b.scales, scale, minimum);
    steps[sub] = d * static_cast<float>(scale);
    offsets[sub] = -m * static_cast<float>(minimum);
  }
}

void Unpack(const BlockQ4_K& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  UnpackSteps(b, steps, offsets);
  for (int pair = 0; pair < 4; ++pair) {
    TakeBits(b.quants + pair * 32, 0, 15, levels + pair * 64);
    TakeBits(b.quants + pair * 32, 4, 15, levels + pair * 64 + 32);
  }
}

void Unpack(const BlockQ5_K& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  UnpackSteps(b, steps, offsets);
#pragma GCC unroll 8  // so that shifts are constants
  for (int sub = 0; sub < 8; ++sub) {
    TakeBits(b.quants + sub / 2 * 32, sub % 2 * 4, 15, levels + sub * 32);
    AddBits(b.high_bits, sub, 1, 4, levels + sub * 32);
  }
}

void Unpack(const BlockQ2_K& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  const float d = HalfToFloat(b.scale), m = HalfToFloat(b.minimum);
  for (int sub = 0; sub < 16; ++sub) {
    steps[sub] = d * static_cast<float>(b.scales[sub] & 15);
    offsets[sub] = -m * static_cast<float>(b.scales[sub] >> 4);
  }
#pragma GCC unroll 8                   // so that shifts are constants
  for (int run = 0; run < 8; ++run) {  // of 32: a half and a plane
    TakeBits(b.quants + run / 4 * 32, 2 * (run % 4), 3, levels + run * 32);
  }
}

void Unpack(const BlockQ3_K& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  const float d = HalfToFloat(b.scale);
  for (int sub = 0; sub < 16; ++sub) {
    steps[sub] = d * static_cast<float>(UnpackQ3Scale(sub, b.scales));
    offsets[sub] = -4.0f * steps[sub];
  }
#pragma GCC unroll 8  // so that shifts are constants
  for (int run = 0; run < 8; ++run) {
    TakeBits(b.quants + run / 4 * 32, 2 * (run % 4), 3, levels + run * 32);
    AddBits(b.high_mask, run, 1, 2, levels + run * 32);
  }
}

void Unpack(const BlockQ6_K& b, uint8_t* __restrict levels, float* __restrict steps, float* __restrict offsets) {
  const float d = HalfToFloat(b.scale);
  for (int sub = 0; sub < 16; ++sub) {
    steps[sub] = d * static_cast<float>(b.scales[sub]);
    offsets[sub] = -32.0f * steps[sub];
  }
#pragma GCC unroll 8  // so that shifts are constants
  for (int run = 0; run < 8; ++run) {
    TakeBits(b.low_bits + run / 4 * 64 + run % 2 * 32, run % 4 / 2 * 4, 15, levels + run * 32);
    AddBits(b.high_bits + run / 4 * 32, 2 * (run % 4), 3, 4, levels + run * 32);
  }
}

template <typename Block, int kWeights, int kStepColumns>
void UnpackBlocks(const std::byte* blocks, int64_t columns, uint8_t* levels, float* steps, float* offsets) {
  for (int64_t i = 0; i < columns / kWeights; ++i) {
    // Read where it lies: blocks are of an even size and begin at a tensor's alignment; no field needs more than two.
    const Block& block = reinterpret_cast<const Block*>(blocks)[i];
    static_assert(alignof(Block) <= 2 && sizeof(Block) % 2 == 0);
    constexpr int64_t kSteps = kWeights / kStepColumns;
    Unpack(block, levels + i * kWeights, steps + i * kSteps, offsets + i * kSteps);
  }
}

// `columns` weights, a multiple of the type's block: levels [columns], steps and offsets [columns / StepColumns(type)].
[[maybe_unused]] void UnpackLevels(BlockType type, const std::byte* blocks, int64_t columns, uint8_t* levels,
                                   float* steps, float* offsets) {
  switch (type) {
    case BlockType::kQ4_0:
      return UnpackBlocks<BlockQ4_0, 32, 32>(blocks, columns, levels, steps, offsets);
    case BlockType::kQ4_1:
      return UnpackBlocks<BlockQ4_1, 32, 32>(blocks, columns, levels, steps, offsets);
    case BlockType::kQ5_0:
      return UnpackBlocks<BlockQ5_0, 32, 32>(blocks, columns, levels, steps, offsets);
    case BlockType::kQ5_1:
      return UnpackBlocks<BlockQ5_1, 32, 32>(blocks, columns, levels, steps, offsets);
    case BlockType::kQ8_0:
      return UnpackBlocks<BlockQ8_0, 32, 32>(blocks, columns, levels, steps, offsets);
    case BlockType::kIQ4_NL:
      return UnpackBlocks<BlockIQ4_NL, 32, 32>(blocks, columns, levels, steps, offsets);
    case BlockType::kQ2_K:
      return UnpackBlocks<BlockQ2_K, 256, 16>(blocks, columns, levels, steps, offsets);
    case BlockType::kQ3_K:
      return UnpackBlocks<BlockQ3_K, 256, 16>(blocks, columns, levels, steps, offsets);
    case BlockType::kQ4_K:
      return UnpackBlocks<BlockQ4_K, 256, 32>(blocks, columns, levels, steps, offsets);
    case BlockType::kQ5_K:
      return UnpackBlocks<BlockQ5_K, 256, 32>(blocks, columns, levels, steps, offsets);
    case BlockType::kQ6_K:
      return UnpackBlocks<BlockQ6_K, 256, 16>(blocks, columns, levels, steps, offsets);
    case BlockType::kIQ4_XS:
      return UnpackBlocks<BlockIQ4_XS, 256, 32>(blocks, columns, levels, steps, offsets);
    case BlockType::kF32:
    case BlockType::kF16:
    case BlockType::kBF16:
      return;  // floats have no levels
  }
}

}  // namespace
}  // namespace fedglm
