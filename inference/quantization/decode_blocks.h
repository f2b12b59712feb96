// Decoding of every block type in plain C++. This file is included by the reference (decode.cc) and, under other
// compile flags, by each kernel file, whose compiler then vectorizes it: all of it has internal linkage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "inference/quantization/block_type.h"
#include "inference/quantization/blocks.h"
#include "inference/quantization/half.h"

namespace fedglm {
namespace {

// Blocks in a file need not be aligned for their fields: each is copied out before it is read.
template <typename Block, int kWeights, typename Body>
void ForEachBlock(const std::byte* blocks, int64_t columns, float* weights, const Body& body) {
  for (int64_t i = 0; i < columns / kWeights; ++i) {
    Block block;
    std::memcpy(&block, blocks + i * static_cast<int64_t>(sizeof(Block)), sizeof(Block));
    body(block, weights + i * kWeights);
  }
}

void Decode(const BlockQ4_0& b, float* y) {
  const float d = HalfToFloat(b.scale);
  for (int i = 0; i < 16; ++i) {
    y[i] = static_cast<float>((b.nibbles[i] & 15) - 8) * d;
    y[i + 16] = static_cast<float>((b.nibbles[i] >> 4) - 8) * d;
  }
}

void Decode(const BlockQ4_1& b, float* y) {
  const float d = HalfToFloat(b.scale), m = HalfToFloat(b.minimum);
  for (int i = 0; i < 16; ++i) {
    y[i] = static_cast<float>(b.nibbles[i] & 15) * d + m;
    y[i + 16] = static_cast<float>(b.nibbles[i] >> 4) * d + m;
  }
}

uint32_t HighBits(const uint8_t* bytes) {
  uint32_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
}

void Decode(const BlockQ5_0& b, float* y) {
  const float d = HalfToFloat(b.scale);
  const uint32_t high = HighBits(b.high_bits);
  for (int i = 0; i < 16; ++i) {
    const int low_half = (b.nibbles[i] & 15) | static_cast<int>(((high >> i) & 1) << 4);
    const int high_half = (b.nibbles[i] >> 4) | static_cast<int>(((high >> (i + 16)) & 1) << 4);
    y[i] = static_cast<float>(low_half - 16) * d;
    y[i + 16] = static_cast<float>(high_half - 16) * d;
  }
}

void Decode(const BlockQ5_1& b, float* y) {
  const float d = HalfToFloat(b.scale), m = HalfToFloat(b.minimum);
  const uint32_t high = HighBits(b.high_bits);
  for (int i = 0; i < 16; ++i) {
    const int low_half = (b.nibbles[i] & 15) | static_cast<int>(((high >> i) & 1) << 4);
    const int high_half = (b.nibbles[i] >> 4) | static_cast<int>(((high >> (i + 16)) & 1) << 4);
    y[i] = static_cast<float>(low_half) * d + m;
    y[i + 16] = static_cast<float>(high_half) * d + m;
  }
}

void Decode(const BlockQ8_0& b, float* y) {
  const float d = HalfToFloat(b.scale);
  for (int i = 0; i < 32; ++i) y[i] = static_cast<float>(b.values[i]) * d;
}

void Decode(const BlockIQ4_NL& b, float* y) {
  const float d = HalfToFloat(b.scale);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(kIq4Levels[b.nibbles[i] & 15]);
    y[i + 16] = d * static_cast<float>(kIq4Levels[b.nibbles[i] >> 4]);
  }
}

// Two halves of 128; in each, four 2-bit planes of 32 weights, each plane with two sub-blocks of 16.
void Decode(const BlockQ2_K& b, float* y) {
  const float d = HalfToFloat(b.scale), m = HalfToFloat(b.minimum);
  for (int sub = 0; sub < 16; ++sub) {
    const float scale = d * static_cast<float>(b.scales[sub] & 15);
    const float minimum = m * static_cast<float>(b.scales[sub] >> 4);
    const int half = sub / 8, plane = sub % 8 / 2, part = sub % 2;
    const uint8_t* q = b.quants + half * 32 + part * 16;
    for (int i = 0; i < 16; ++i) {
      y[sub * 16 + i] = scale * static_cast<float>((q[i] >> (2 * plane)) & 3) - minimum;
    }
  }
}

// As Q2_K, with a third bit from high_mask: where it is not set, 4 is subtracted.
void Decode(const BlockQ3_K& b, float* y) {
  const float d = HalfToFloat(b.scale);
  for (int sub = 0; sub < 16; ++sub) {
    const float scale = d * static_cast<float>(UnpackQ3Scale(sub, b.scales));
    const int half = sub / 8, plane = sub % 8 / 2, part = sub % 2;
    const uint8_t* q = b.quants + half * 32 + part * 16;
    const uint8_t* high = b.high_mask + part * 16;
    const int mask = 1 << (half * 4 + plane);
    for (int i = 0; i < 16; ++i) {
      const int value = ((q[i] >> (2 * plane)) & 3) - ((high[i] & mask) != 0 ? 0 : 4);
      y[sub * 16 + i] = scale * static_cast<float>(value);
    }
  }
}

// Four pairs of sub-blocks of 32: the low nibbles of 32 bytes, then the high ones.
void Decode(const BlockQ4_K& b, float* y) {
  const float d = HalfToFloat(b.scale), m = HalfToFloat(b.minimum);
  for (int sub = 0; sub < 8; ++sub) {
    uint8_t scale, minimum;
    UnpackScaleAndMinimum(sub, b.scales, scale, minimum);
    const float sub_scale = d * static_cast<float>(scale), sub_minimum = m * static_cast<float>(minimum);
    const uint8_t* q = b.quants + sub / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      const int value = sub % 2 == 0 ? q[i] & 15 : q[i] >> 4;
      y[sub * 32 + i] = sub_scale * static_cast<float>(value) - sub_minimum;
    }
  }
}

void Decode(const BlockQ5_K& b, float* y) {
  const float d = HalfToFloat(b.scale), m = HalfToFloat(b.minimum);
  for (int sub = 0; sub < 8; ++sub) {
    uint8_t scale, minimum;
    UnpackScaleAndMinimum(sub, b.scales, scale, minimum);
    const float sub_scale = d * static_cast<float>(scale), sub_minimum = m * static_cast<float>(minimum);
    const uint8_t* q = b.quants + sub / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      const int low = sub % 2 == 0 ? q[i] & 15 : q[i] >> 4;
      const int high = (b.high_bits[i] >> sub) & 1;
      y[sub * 32 + i] = sub_scale * static_cast<float>(low + 16 * high) - sub_minimum;
    }
  }
}

// Two halves of 128; in each, 64 low bytes and 32 high bytes give four runs of 32 weights.
void Decode(const BlockQ6_K& b, float* y) {
  const float d = HalfToFloat(b.scale);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = b.low_bits + half * 64;
    const uint8_t* high = b.high_bits + half * 32;
    const int8_t* scales = b.scales + half * 8;
    for (int run = 0; run < 4; ++run) {
      for (int i = 0; i < 32; ++i) {
        const uint8_t byte = low[i + (run % 2) * 32];
        const int nibble = run < 2 ? byte & 15 : byte >> 4;
        const int value = (nibble | (((high[i] >> (2 * run)) & 3) << 4)) - 32;
        const int8_t scale = scales[run * 2 + i / 16];
        y[half * 128 + run * 32 + i] = d * static_cast<float>(scale) * static_cast<float>(value);
      }
    }
  }
}

void Decode(const BlockIQ4_XS& b, float* y) {
  const float d = HalfToFloat(b.scale);
  for (int sub = 0; sub < 8; ++sub) {
    const int low = (b.scales_low[sub / 2] >> (4 * (sub % 2))) & 15;
    const int high = (b.scales_high >> (2 * sub)) & 3;
    const float scale = d * static_cast<float>((low | (high << 4)) - 32);
    const uint8_t* q = b.quants + sub * 16;
    for (int i = 0; i < 16; ++i) {
      y[sub * 32 + i] = scale * static_cast<float>(kIq4Levels[q[i] & 15]);
      y[sub * 32 + i + 16] = scale * static_cast<float>(kIq4Levels[q[i] >> 4]);
    }
  }
}

template <typename Block, int kWeights>
void DecodeBlocks(const std::byte* blocks, float* weights, int64_t columns) {
  ForEachBlock<Block, kWeights>(blocks, columns, weights, [](const Block& block, float* y) { Decode(block, y); });
}

void DecodeBlocksOf(BlockType type, const std::byte* blocks, float* weights, int64_t columns) {
  switch (type) {
    case BlockType::kF32:
      std::memcpy(weights, blocks, static_cast<size_t>(columns) * sizeof(float));
      return;
    case BlockType::kF16:
      return ForEachBlock<uint16_t, 1>(blocks, columns, weights, [](uint16_t x, float* y) { *y = HalfToFloat(x); });
    case BlockType::kBF16:
      return ForEachBlock<uint16_t, 1>(blocks, columns, weights, [](uint16_t x, float* y) { *y = Bfloat16ToFloat(x); });
    case BlockType::kQ8_0:
      return DecodeBlocks<BlockQ8_0, 32>(blocks, weights, columns);
    case BlockType::kQ4_0:
      return DecodeBlocks<BlockQ4_0, 32>(blocks, weights, columns);
    case BlockType::kQ4_1:
      return DecodeBlocks<BlockQ4_1, 32>(blocks, weights, columns);
    case BlockType::kQ5_0:
      return DecodeBlocks<BlockQ5_0, 32>(blocks, weights, columns);
    case BlockType::kQ5_1:
      return DecodeBlocks<BlockQ5_1, 32>(blocks, weights, columns);
    case BlockType::kQ2_K:
      return DecodeBlocks<BlockQ2_K, 256>(blocks, weights, columns);
    case BlockType::kQ3_K:
      return DecodeBlocks<BlockQ3_K, 256>(blocks, weights, columns);
    case BlockType::kQ4_K:
      return DecodeBlocks<BlockQ4_K, 256>(blocks, weights, columns);
    case BlockType::kQ5_K:
      return DecodeBlocks<BlockQ5_K, 256>(blocks, weights, columns);
    case BlockType::kQ6_K:
      return DecodeBlocks<BlockQ6_K, 256>(blocks, weights, columns);
    case BlockType::kIQ4_NL:
      return DecodeBlocks<BlockIQ4_NL, 32>(blocks, weights, columns);
    case BlockType::kIQ4_XS:
      return DecodeBlocks<BlockIQ4_XS, 256>(blocks, weights, columns);
  }
}

}  // namespace
}  // namespace fedglm
