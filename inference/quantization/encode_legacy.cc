// The types whose blocks of 32 weights have one scale of their own: Q4_0 Q5_0 Q8_0, and with a minimum Q4_1 Q5_1.
#include <cmath>
#include <cstring>

#include "inference/quantization/encode_blocks.h"
#include "inference/quantization/encode_search.h"

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

// Both leave in `chosen` the levels for the scale (and minimum) as float16, which is what a reader multiplies with.
void EncodeScaled(const EvenLevels& levels, const float* x, const float* w, uint16_t& scale, float* chosen) {
  scale = ScaleToHalf(FitScale(levels, x, w, kBlock));
  ScaleError(levels, HalfToFloat(scale), x, w, kBlock, chosen);
}

template <typename Block>
void EncodeAffine(float highest, const float* x, const float* w, Block& block, float* chosen) {
  const AffineFit fit = FitAffine(highest, false, x, w, kBlock);
  block.scale = ScaleToHalf(fit.scale);
  block.minimum = ScaleToHalf(fit.minimum);
  AffineError({HalfToFloat(block.scale), HalfToFloat(block.minimum)}, highest, x, w, kBlock, chosen);
}

}  // namespace

void EncodeBlock(const float* x, const float* w, BlockQ4_0& block) {
  float levels[kBlock];
  EncodeScaled(EvenLevels{-8, 7}, x, w, block.scale, levels);
  PackNibbles(levels, 8, block);
}

void EncodeBlock(const float* x, const float* w, BlockQ5_0& block) {
  float levels[kBlock];
  EncodeScaled(EvenLevels{-16, 15}, x, w, block.scale, levels);
  PackNibbles(levels, 16, block);
  PackHighBits(levels, 16, block);
}

void EncodeBlock(const float* x, const float* w, BlockQ4_1& block) {
  float levels[kBlock];
  EncodeAffine(15, x, w, block, levels);
  PackNibbles(levels, 0, block);
}

void EncodeBlock(const float* x, const float* w, BlockQ5_1& block) {
  float levels[kBlock];
  EncodeAffine(31, x, w, block, levels);
  PackNibbles(levels, 0, block);
  PackHighBits(levels, 0, block);
}

void EncodeBlock(const float* x, const float* w, BlockQ8_0& block) {
  float levels[kBlock];
  EncodeScaled(EvenLevels{-127, 127}, x, w, block.scale, levels);
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
