// Quantized weights as integer levels: w = step * level + offset over each 16 columns, which is what every block type
// of GGUF is at heart; unpack_levels.h takes them out of the blocks. Included by each kernel file under its own compile
// flags: internal linkage.
#pragma once

#include <cstdint>

#include "inference/quantization/block_type.h"

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

}  // namespace
}  // namespace fedglm
