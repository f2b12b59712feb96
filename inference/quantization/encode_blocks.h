// One block's encoding in two steps, an overload for each type: FitBlock searches scales and levels, PackLevels writes
// the levels. Between them EncodeRow may choose other levels for the same scales. Private to this folder.
#pragma once

#include "inference/quantization/blocks.h"
#include "inference/quantization/encode_search.h"
#include "inference/quantization/iq4_levels.h"

namespace fedglm {

// Where the search leaves its result. Weight i is decoded as steps[i / group]·levels[i] + offsets[i / group], group
// being GridOf<Block>::kGroup.
struct BlockFit {
  float* levels;   // [weights of the block]
  float* steps;    // [weights / group]
  float* offsets;  // [weights / group], 0 for types without a minimum
};

// Which levels a type has, and how many weights share a step.
template <auto levels, int group>
struct Grid {
  static constexpr auto kLevels = levels;
  static constexpr int kGroup = group;
};
template <typename Block>
struct GridOf;
template <>
struct GridOf<BlockQ4_0> : Grid<EvenLevels{-8, 7}, 32> {};
template <>
struct GridOf<BlockQ4_1> : Grid<EvenLevels{0, 15}, 32> {};
template <>
struct GridOf<BlockQ5_0> : Grid<EvenLevels{-16, 15}, 32> {};
template <>
struct GridOf<BlockQ5_1> : Grid<EvenLevels{0, 31}, 32> {};
template <>
struct GridOf<BlockQ8_0> : Grid<EvenLevels{-127, 127}, 32> {};
template <>
struct GridOf<BlockQ2_K> : Grid<EvenLevels{0, 3}, 16> {};
template <>
struct GridOf<BlockQ3_K> : Grid<EvenLevels{-4, 3}, 16> {};
template <>
struct GridOf<BlockQ4_K> : Grid<EvenLevels{0, 15}, 32> {};
template <>
struct GridOf<BlockQ5_K> : Grid<EvenLevels{0, 31}, 32> {};
template <>
struct GridOf<BlockQ6_K> : Grid<EvenLevels{-32, 31}, 16> {};
template <>
struct GridOf<BlockIQ4_NL> : Grid<Iq4Levels{}, 32> {};
template <>
struct GridOf<BlockIQ4_XS> : Grid<Iq4Levels{}, 32> {};

// x: the block's weights, finite and within float16's range. w: their importance, positive. FitBlock fills all of
// the block but its levels, which are 0 until PackLevels.

// encode_legacy.cc
void FitBlock(const float* x, const float* w, BlockQ4_0& block, BlockFit fit);
void FitBlock(const float* x, const float* w, BlockQ4_1& block, BlockFit fit);
void FitBlock(const float* x, const float* w, BlockQ5_0& block, BlockFit fit);
void FitBlock(const float* x, const float* w, BlockQ5_1& block, BlockFit fit);
void FitBlock(const float* x, const float* w, BlockQ8_0& block, BlockFit fit);
void PackLevels(const float* levels, BlockQ4_0& block);
void PackLevels(const float* levels, BlockQ4_1& block);
void PackLevels(const float* levels, BlockQ5_0& block);
void PackLevels(const float* levels, BlockQ5_1& block);
void PackLevels(const float* levels, BlockQ8_0& block);
// Without a search, by ggml's rule: the weight of largest magnitude becomes ±127. Eight bits lose little by that.
void EncodeBlockPlainly(const float* x, BlockQ8_0& block);

// encode_k.cc
void FitBlock(const float* x, const float* w, BlockQ2_K& block, BlockFit fit);
void FitBlock(const float* x, const float* w, BlockQ3_K& block, BlockFit fit);
void FitBlock(const float* x, const float* w, BlockQ4_K& block, BlockFit fit);
void FitBlock(const float* x, const float* w, BlockQ5_K& block, BlockFit fit);
void FitBlock(const float* x, const float* w, BlockQ6_K& block, BlockFit fit);
void PackLevels(const float* levels, BlockQ2_K& block);
void PackLevels(const float* levels, BlockQ3_K& block);
void PackLevels(const float* levels, BlockQ4_K& block);
void PackLevels(const float* levels, BlockQ5_K& block);
void PackLevels(const float* levels, BlockQ6_K& block);

// encode_iq4.cc
void FitBlock(const float* x, const float* w, BlockIQ4_NL& block, BlockFit fit);
void FitBlock(const float* x, const float* w, BlockIQ4_XS& block, BlockFit fit);
void PackLevels(const float* levels, BlockIQ4_NL& block);
void PackLevels(const float* levels, BlockIQ4_XS& block);

}  // namespace fedglm
