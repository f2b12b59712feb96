// The types whose blocks of 32 weights have one scale of their own: Q4_0 Q5_0 Q8_0, and with a minimum Q4_1 Q5_1.
#include <cmath>
#include <cstring>

#include "inference/quantization/encode_blocks.h"

namespace fedglm {
namespace {

constexpr int kBlock = 32;

// Level 0 is stored as `zero`: the levels are signed, the bits are not.
template <typename Block>
void PackNibbles(const float* levels, int zero, Block& block) {
  const auto code = [&](int i) { return (static_cast<int>(levels[i]) + zero) & 15; };
  for (int i = 0; i < 16; ++i) block.nibbles[i] = static_cast<uint8_t>(code(i) | (code(i + 16) << 4));
}

template <typename Block>
void PackHighBits(const float* levels, int zero, Block& block) {
  uint32_t high = 0;
  for (int i = 0; i < kBlock; ++i) high |= static_cast<uint32_t>((static_cast<int>(levels[i]) + zero) >> 4) << i;
  std::memcpy(block.high_bits, &high, sizeof(high));
}

// Both choose the levels for the scale (and minimum) as float16, which is what a reader multiplies with.
template <typename Block>
void FitScaled(const float* x, const float* w, Block& block, BlockFit fit) {
  const EvenLevels levels = GridOf<Block>::kLevels;
  block = {};
  block.scale = ScaleToHalf(FitScale(levels, x, w, kBlock));
  fit.steps[0] = HalfToFloat(block.scale);
  fit.offsets[0] = 0.0f;
  ScaleError(levels, fit.steps[0], x, w, kBlock, fit.levels);
}

template <typename Block>
void FitWithMinimum(const float* x, const float* w, Block& block, BlockFit fit) {
  const float highest = GridOf<Block>::kLevels.highest;
  const AffineFit found = FitAffine(highest, false, x, w, kBlock);
  block = {};
  block.scale = ScaleToHalf(found.scale);
  block.minimum = ScaleToHalf(found.minimum);
  fit.steps[0] = HalfToFloat(block.scale);
  fit.offsets[0] = HalfToFloat(block.minimum);
  AffineError({fit.steps[0], fit.offsets[0]}, highest, x, w, kBlock, fit.levels);
}

}  // namespace

void FitBlock(const float* x, const float* w, BlockQ4_0& block, BlockFit fit) { FitScaled(x, w, block, fit); }
void FitBlock(const float* x, const float* w, BlockQ5_0& block, BlockFit fit) { FitScaled(x, w, block, fit); }
void FitBlock(const float* x, const float* w, BlockQ8_0& block, BlockFit fit) { FitScaled(x, w, block, fit); }
void FitBlock(const float* x, const float* w, BlockQ4_1& block, BlockFit fit) { FitWithMinimum(x, w, block, fit); }
void FitBlock(const float* x, const float* w, BlockQ5_1& block, BlockFit fit) { FitWithMinimum(x, w, block, fit); }

void PackLevels(const float* levels, BlockQ4_0& block) { PackNibbles(levels, 8, block); }
void PackLevels(const float* levels, BlockQ4_1& block) { PackNibbles(levels, 0, block); }

void PackLevels(const float* levels, BlockQ5_0& block) {
  PackNibbles(levels, 16, block);
  PackHighBits(levels, 16, block);
}

void PackLevels(const float* levels, BlockQ5_1& block) {
  PackNibbles(levels, 0, block);
  PackHighBits(levels, 0, block);
}

void PackLevels(const float* levels, BlockQ8_0& block) {
  for (int i = 0; i < kBlock; ++i) block.values[i] = static_cast<int8_t>(levels[i]);
}

void EncodeBlockPlainly(const float* x, BlockQ8_0& block) {
  float largest = 0;
  for (int i = 0; i < kBlock; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float scale = largest / 127.0f, inverse = Inverse(scale);
  block.scale = FloatToHalf(scale);
  for (int i = 0; i < kBlock; ++i) block.values[i] = static_cast<int8_t>(std::round(x[i] * inverse));
}

}  // namespace fedglm
