// IQ4_NL and IQ4_XS.
#include "inference/quantization/encode_blocks.h"
#include "inference/quantization/encode_super_block.h"

namespace fedglm {
namespace {

// Nibble i of the low half is weight i, of the high half weight 16 + i.
void PackNibbles(const float* levels, uint8_t* nibbles) {
  for (int i = 0; i < 16; ++i) {
    nibbles[i] = static_cast<uint8_t>(Iq4Levels::IndexOf(levels[i]) | (Iq4Levels::IndexOf(levels[i + 16]) << 4));
  }
}

}  // namespace

void FitBlock(const float* x, const float* w, BlockIQ4_NL& block, BlockFit fit) {
  block = {};
  block.scale = ScaleToHalf(FitScale(Iq4Levels(), x, w, 32));
  fit.steps[0] = HalfToFloat(block.scale);
  fit.offsets[0] = 0.0f;
  ScaleError(Iq4Levels(), fit.steps[0], x, w, 32, fit.levels);
}

void PackLevels(const float* levels, BlockIQ4_NL& block) { PackNibbles(levels, block.nibbles); }

void FitBlock(const float* x, const float* w, BlockIQ4_XS& block, BlockFit fit) {
  const ScaledSuperBlock found = FitScaledSuperBlock(Iq4Levels(), 8, -32, 31, x, w);
  block = {};
  block.scale = found.scale;
  for (int k = 0; k < 8; ++k) {
    const int scale = found.scales[k] + 32;
    block.scales_low[k / 2] = static_cast<uint8_t>(block.scales_low[k / 2] | ((scale & 15) << (4 * (k % 2))));
    block.scales_high = static_cast<uint16_t>(block.scales_high | ((scale >> 4) << (2 * k)));
  }
  found.CopyTo(8, fit);
}

void PackLevels(const float* levels, BlockIQ4_XS& block) {
  for (int k = 0; k < 8; ++k) PackNibbles(levels + k * 32, block.quants + k * 16);
}

}  // namespace fedglm
