// The blocks of GGUF's quantized types as they lie in a file (little-endian). The layouts are ggml's and on disk: never
// to be changed. docs/gguf.md explains each.
#pragma once

#include <cstdint>

namespace fedglm {

// 32 weights. Nibble i of the low half is weight i, of the high half weight 16 + i.
struct BlockQ4_0 {
  uint16_t scale;
  uint8_t nibbles[16];
};  // (q - 8) * scale
struct BlockQ4_1 {
  uint16_t scale, minimum;
  uint8_t nibbles[16];
};  // q * scale + minimum
struct BlockQ5_0 {
  uint16_t scale;
  uint8_t high_bits[4];
  uint8_t nibbles[16];
};  // (q - 16) * scale
struct BlockQ5_1 {
  uint16_t scale, minimum;
  uint8_t high_bits[4];
  uint8_t nibbles[16];
};
struct BlockQ8_0 {
  uint16_t scale;
  int8_t values[32];
};
struct BlockIQ4_NL {
  uint16_t scale;
  uint8_t nibbles[16];
};  // table[q] * scale

// Super-blocks of 256 weights, in 8 or 16 sub-blocks with scales of their own.
struct BlockQ2_K {
  uint8_t scales[16];
  uint8_t quants[64];
  uint16_t scale, minimum;
};
struct BlockQ3_K {
  uint8_t high_mask[32];
  uint8_t quants[64];
  uint8_t scales[12];
  uint16_t scale;
};
struct BlockQ4_K {
  uint16_t scale, minimum;
  uint8_t scales[12];
  uint8_t quants[128];
};
struct BlockQ5_K {
  uint16_t scale, minimum;
  uint8_t scales[12];
  uint8_t high_bits[32];
  uint8_t quants[128];
};
struct BlockQ6_K {
  uint8_t low_bits[128];
  uint8_t high_bits[64];
  int8_t scales[16];
  uint16_t scale;
};
struct BlockIQ4_XS {
  uint16_t scale;
  uint16_t scales_high;
  uint8_t scales_low[4];
  uint8_t quants[128];
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockIQ4_NL) == 18);
static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_XS) == 136);

// IQ4's non-linear levels.
static constexpr int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// Q4_K and Q5_K pack eight 6-bit scales and eight 6-bit minimums into 12 bytes.
static inline void UnpackScaleAndMinimum(int index, const uint8_t* packed, uint8_t& scale, uint8_t& minimum) {
  if (index < 4) {
    scale = packed[index] & 63;
    minimum = packed[index + 4] & 63;
  } else {
    scale = static_cast<uint8_t>((packed[index + 4] & 15) | ((packed[index - 4] >> 6) << 4));
    minimum = static_cast<uint8_t>((packed[index + 4] >> 4) | ((packed[index] >> 6) << 4));
  }
}

// Q3_K packs sixteen 6-bit scales into 12 bytes, stored with an offset of 32.
static inline int UnpackQ3Scale(int index, const uint8_t* packed) {
  const int low = index < 8 ? packed[index] & 15 : packed[index - 8] >> 4;
  const int high = (packed[8 + index % 4] >> (2 * (index / 4))) & 3;
  return (low | (high << 4)) - 32;
}

}  // namespace fedglm
