// IQ4_NL and IQ4_XS: sixteen levels that lie closer together around zero, where most weights are.
#include <array>

#include "inference/quantization/encode_blocks.h"
#include "inference/quantization/encode_super_block.h"

namespace fedglm {
namespace {

// The halves of integers between -128 and 128, each with the index of the level that is nearest to all of
// [half/2, half/2 + 1/2). That is exact: the middle between two levels is a multiple of 1/2.
constexpr int kHalves = 512;

constexpr std::array<uint8_t, kHalves> NearestByHalves() {
  std::array<uint8_t, kHalves> nearest{};
  int index = 0;
  for (int half = 0; half < kHalves; ++half) {
    // Twice the middle of the interval, and four times the middle of two levels, to stay with integers.
    while (index < 15 && 2 * (half - kHalves / 2) + 1 > 2 * (kIq4Levels[index] + kIq4Levels[index + 1])) ++index;
    nearest[static_cast<size_t>(half)] = static_cast<uint8_t>(index);
  }
  return nearest;
}

constexpr std::array<uint8_t, kHalves> kNearest = NearestByHalves();

int IndexOf(float value) {
  const float halves = std::min(std::max(value * 2.0f, -256.0f), 255.0f);
  return kNearest[static_cast<size_t>(static_cast<int>(halves + 256.0f))];
}

struct Iq4Levels {
  static constexpr float lowest = kIq4Levels[0], highest = kIq4Levels[15];
  float Nearest(float value) const { return kIq4Levels[IndexOf(value)]; }
};

// Nibble i of the low half is weight i, of the high half weight 16 + i.
void PackNibbles(const float* levels, uint8_t* nibbles) {
  for (int i = 0; i < 16; ++i) nibbles[i] = static_cast<uint8_t>(IndexOf(levels[i]) | (IndexOf(levels[i + 16]) << 4));
}

}  // namespace

void EncodeBlock(const float* x, const float* w, BlockIQ4_NL& block) {
  float levels[32];
  block.scale = ScaleToHalf(FitScale(Iq4Levels(), x, w, 32));
  ScaleError(Iq4Levels(), HalfToFloat(block.scale), x, w, 32, levels);
  PackNibbles(levels, block.nibbles);
}

void EncodeBlock(const float* x, const float* w, BlockIQ4_XS& block) {
  const ScaledSuperBlock fit = FitScaledSuperBlock(Iq4Levels(), 8, -32, 31, x, w);
  block = {};
  block.scale = fit.scale;
  for (int k = 0; k < 8; ++k) {
    const int scale = fit.scales[k] + 32;
    block.scales_low[k / 2] = static_cast<uint8_t>(block.scales_low[k / 2] | ((scale & 15) << (4 * (k % 2))));
    block.scales_high = static_cast<uint16_t>(block.scales_high | ((scale >> 4) << (2 * k)));
    PackNibbles(fit.levels + k * 32, block.quants + k * 16);
  }
}

}  // namespace fedglm
