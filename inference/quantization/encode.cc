#include <algorithm>
#include <cmath>
#include <cstring>

#include "inference/quantization/blocks.h"
#include "inference/quantization/codec.h"
#include "inference/quantization/half.h"

namespace fedglm {
namespace {

template <typename Block, int kWeights, typename Body>
void ForEachBlock(const float* weights, int64_t columns, std::byte* blocks, const Body& body) {
  for (int64_t i = 0; i < columns / kWeights; ++i) {
    const Block block = body(weights + i * kWeights);
    std::memcpy(blocks + i * static_cast<int64_t>(sizeof(Block)), &block, sizeof(Block));
  }
}

// The value of largest magnitude, with its sign.
float SignedExtreme(const float* x, int count) {
  float extreme = 0;
  for (int i = 0; i < count; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  return extreme;
}

uint8_t Level(float value, int highest) {
  return static_cast<uint8_t>(std::clamp(static_cast<int>(value), 0, highest));
}

BlockQ8_0 EncodeQ8_0(const float* x) {
  const float d = std::fabs(SignedExtreme(x, 32)) / 127.0f;
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  BlockQ8_0 block;
  block.scale = FloatToHalf(d);
  for (int i = 0; i < 32; ++i) block.values[i] = static_cast<int8_t>(std::round(x[i] * inverse));
  return block;
}

// The extreme maps to -8 exactly: the range is -8…7 steps of d, whichever sign d has.
BlockQ4_0 EncodeQ4_0(const float* x) {
  const float d = SignedExtreme(x, 32) / -8.0f;
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  BlockQ4_0 block;
  block.scale = FloatToHalf(d);
  for (int i = 0; i < 16; ++i) {
    const uint8_t low = Level(x[i] * inverse + 8.5f, 15), high = Level(x[i + 16] * inverse + 8.5f, 15);
    block.nibbles[i] = static_cast<uint8_t>(low | (high << 4));
  }
  return block;
}

BlockQ4_1 EncodeQ4_1(const float* x) {
  const auto [lowest, highest] = std::minmax_element(x, x + 32);
  const float d = (*highest - *lowest) / 15.0f;
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  BlockQ4_1 block;
  block.scale = FloatToHalf(d);
  block.minimum = FloatToHalf(*lowest);
  for (int i = 0; i < 16; ++i) {
    const uint8_t low = Level((x[i] - *lowest) * inverse + 0.5f, 15);
    const uint8_t high = Level((x[i + 16] - *lowest) * inverse + 0.5f, 15);
    block.nibbles[i] = static_cast<uint8_t>(low | (high << 4));
  }
  return block;
}

// The fifth bits of 32 levels, and their low nibbles.
template <typename Block>
void Pack5(const uint8_t (&levels)[32], Block& block) {
  uint32_t high = 0;
  for (int i = 0; i < 16; ++i) {
    block.nibbles[i] = static_cast<uint8_t>((levels[i] & 15) | ((levels[i + 16] & 15) << 4));
    high |= static_cast<uint32_t>(levels[i] >> 4) << i;
    high |= static_cast<uint32_t>(levels[i + 16] >> 4) << (i + 16);
  }
  std::memcpy(block.high_bits, &high, sizeof(high));
}

BlockQ5_0 EncodeQ5_0(const float* x) {
  const float d = SignedExtreme(x, 32) / -16.0f;
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  BlockQ5_0 block;
  block.scale = FloatToHalf(d);
  uint8_t levels[32];
  for (int i = 0; i < 32; ++i) levels[i] = Level(x[i] * inverse + 16.5f, 31);
  Pack5(levels, block);
  return block;
}

BlockQ5_1 EncodeQ5_1(const float* x) {
  const auto [lowest, highest] = std::minmax_element(x, x + 32);
  const float d = (*highest - *lowest) / 31.0f;
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  BlockQ5_1 block;
  block.scale = FloatToHalf(d);
  block.minimum = FloatToHalf(*lowest);
  uint8_t levels[32];
  for (int i = 0; i < 32; ++i) levels[i] = Level((x[i] - *lowest) * inverse + 0.5f, 31);
  Pack5(levels, block);
  return block;
}

}  // namespace

bool CanEncode(BlockType type) {
  switch (type) {
    case BlockType::kF32:
    case BlockType::kF16:
    case BlockType::kBF16:
    case BlockType::kQ8_0:
    case BlockType::kQ4_0:
    case BlockType::kQ4_1:
    case BlockType::kQ5_0:
    case BlockType::kQ5_1:
      return true;
    default:
      return false;
  }
}

absl::Status EncodeRow(BlockType type, const float* weights, std::byte* blocks, int64_t columns) {
  for (int64_t i = 0; i < columns; ++i) {
    if (!std::isfinite(weights[i])) return BadFileError("a weight is not finite");
  }
  switch (type) {
    case BlockType::kF32:
      std::memcpy(blocks, weights, static_cast<size_t>(columns) * sizeof(float));
      break;
    case BlockType::kF16:
      ForEachBlock<uint16_t, 1>(weights, columns, blocks, [](const float* x) { return FloatToHalf(*x); });
      break;
    case BlockType::kBF16:
      ForEachBlock<uint16_t, 1>(weights, columns, blocks, [](const float* x) { return FloatToBfloat16(*x); });
      break;
    case BlockType::kQ8_0: ForEachBlock<BlockQ8_0, 32>(weights, columns, blocks, EncodeQ8_0); break;
    case BlockType::kQ4_0: ForEachBlock<BlockQ4_0, 32>(weights, columns, blocks, EncodeQ4_0); break;
    case BlockType::kQ4_1: ForEachBlock<BlockQ4_1, 32>(weights, columns, blocks, EncodeQ4_1); break;
    case BlockType::kQ5_0: ForEachBlock<BlockQ5_0, 32>(weights, columns, blocks, EncodeQ5_0); break;
    case BlockType::kQ5_1: ForEachBlock<BlockQ5_1, 32>(weights, columns, blocks, EncodeQ5_1); break;
    default:
      return UsageError("cannot write " + std::string(FactsOf(type).name));
  }
  return absl::OkStatus();
}

}  // namespace fedglm
