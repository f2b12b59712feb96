// Blocks to levels, steps and offsets, for every type that has levels. Internal linkage, as in levels.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "inference/kernels/level_bits.h"
#include "inference/kernels/levels.h"
#include "inference/quantization/block_type.h"
#include "inference/quantization/blocks.h"
#include "inference/quantization/half.h"

namespace fedglm {
namespace {

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
