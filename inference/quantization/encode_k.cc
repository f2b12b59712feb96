// The K types: super-blocks of 256 weights. Q2_K, Q4_K and Q5_K have a scale and a minimum for each sub-block, Q3_K and
// Q6_K a scale. Each pair of functions is the inverse of its Decode in decode_blocks.h.
#include "inference/quantization/encode_blocks.h"
#include "inference/quantization/encode_super_block.h"

namespace fedglm {
namespace {

int Code(const float* levels, int i, int zero = 0) { return static_cast<int>(levels[i]) + zero; }

void OrInto(uint8_t& byte, int bits) { byte = static_cast<uint8_t>(byte | bits); }

// Where bits of weight `sub`·16 + i lie in Q2_K and Q3_K: halves of 128, in each four planes of 32 in the same bytes.
struct Plane {
  explicit Plane(int sub) : half(sub / 8), plane(sub % 8 / 2), part(sub % 2) {}
  int Byte(int i) const { return half * 32 + part * 16 + i; }
  int half, plane, part;
};

// UnpackScaleAndMinimum's inverse.
void PackScalesAndMinimums(const AffineSuperBlock& fit, uint8_t* packed) {
  for (int k = 0; k < 4; ++k) {
    OrInto(packed[k], fit.scales[k] | ((fit.scales[k + 4] >> 4) << 6));
    OrInto(packed[k + 4], fit.minimums[k] | ((fit.minimums[k + 4] >> 4) << 6));
    OrInto(packed[k + 8], (fit.scales[k + 4] & 15) | ((fit.minimums[k + 4] & 15) << 4));
  }
}

// UnpackQ3Scale's inverse.
void PackQ3Scales(const int* scales, uint8_t* packed) {
  for (int k = 0; k < 16; ++k) {
    const int scale = scales[k] + 32;
    OrInto(packed[k % 8], (scale & 15) << (k < 8 ? 0 : 4));
    OrInto(packed[8 + k % 4], (scale >> 4) << (2 * (k / 4)));
  }
}

// The low nibbles of 32 bytes are one sub-block's, the high ones the next one's.
void PackPairs(const float* levels, uint8_t* quants) {
  for (int i = 0; i < kSuperBlock; ++i) {
    const int k = i / 32;
    OrInto(quants[k / 2 * 32 + i % 32], (Code(levels, i) & 15) << (4 * (k % 2)));
  }
}

// Q4_K and Q5_K differ in the levels alone.
template <typename Block>
void FitInPairs(const float* x, const float* w, Block& block, BlockFit fit) {
  const AffineSuperBlock found = FitAffineSuperBlock(8, 63, GridOf<Block>::kLevels.highest, x, w);
  block = {};
  block.scale = found.scale;
  block.minimum = found.minimum;
  PackScalesAndMinimums(found, block.scales);
  found.CopyTo(8, fit);
}

}  // namespace

void FitBlock(const float* x, const float* w, BlockQ2_K& block, BlockFit fit) {
  const AffineSuperBlock found = FitAffineSuperBlock(16, 15, 3, x, w);
  block = {};
  block.scale = found.scale;
  block.minimum = found.minimum;
  for (int k = 0; k < 16; ++k) block.scales[k] = static_cast<uint8_t>(found.scales[k] | (found.minimums[k] << 4));
  found.CopyTo(16, fit);
}

void PackLevels(const float* levels, BlockQ2_K& block) {
  for (int k = 0; k < 16; ++k) {
    const Plane at(k);
    for (int i = 0; i < 16; ++i) OrInto(block.quants[at.Byte(i)], Code(levels, k * 16 + i) << (2 * at.plane));
  }
}

void FitBlock(const float* x, const float* w, BlockQ3_K& block, BlockFit fit) {
  const ScaledSuperBlock found = FitScaledSuperBlock(GridOf<BlockQ3_K>::kLevels, 16, -32, 31, x, w);
  block = {};
  block.scale = found.scale;
  PackQ3Scales(found.scales, block.scales);
  found.CopyTo(16, fit);
}

void PackLevels(const float* levels, BlockQ3_K& block) {
  for (int k = 0; k < 16; ++k) {
    const Plane at(k);
    for (int i = 0; i < 16; ++i) {
      const int code = Code(levels, k * 16 + i, 4);
      OrInto(block.quants[at.Byte(i)], (code & 3) << (2 * at.plane));
      OrInto(block.high_mask[at.part * 16 + i], (code >> 2) << (at.half * 4 + at.plane));
    }
  }
}

void FitBlock(const float* x, const float* w, BlockQ4_K& block, BlockFit fit) { FitInPairs(x, w, block, fit); }
void FitBlock(const float* x, const float* w, BlockQ5_K& block, BlockFit fit) { FitInPairs(x, w, block, fit); }

void PackLevels(const float* levels, BlockQ4_K& block) { PackPairs(levels, block.quants); }

void PackLevels(const float* levels, BlockQ5_K& block) {
  PackPairs(levels, block.quants);
  for (int i = 0; i < kSuperBlock; ++i) OrInto(block.high_bits[i % 32], (Code(levels, i) >> 4) << (i / 32));
}

void FitBlock(const float* x, const float* w, BlockQ6_K& block, BlockFit fit) {
  const ScaledSuperBlock found = FitScaledSuperBlock(GridOf<BlockQ6_K>::kLevels, 16, -128, 127, x, w);
  block = {};
  block.scale = found.scale;
  for (int k = 0; k < 16; ++k) block.scales[k] = static_cast<int8_t>(found.scales[k]);
  found.CopyTo(16, fit);
}

void PackLevels(const float* levels, BlockQ6_K& block) {
  for (int i = 0; i < kSuperBlock; ++i) {
    const int code = Code(levels, i, 32), half = i / 128, run = i % 128 / 32;
    OrInto(block.low_bits[half * 64 + run % 2 * 32 + i % 32], (code & 15) << (run < 2 ? 0 : 4));
    OrInto(block.high_bits[half * 32 + i % 32], (code >> 4) << (2 * run));
  }
}

}  // namespace fedglm
