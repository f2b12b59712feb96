// One block's encoding, an overload for each type. Private to this folder: EncodeRow (codec.h) is what others call.
//
// x: the block's weights, finite and within float16's range. w: their importance, positive. EncodeBlock fills every
// byte.
#pragma once

#include "inference/quantization/blocks.h"

namespace fedglm {

// encode_legacy.cc
void EncodeBlock(const float* x, const float* w, BlockQ4_0& block);
void EncodeBlock(const float* x, const float* w, BlockQ4_1& block);
void EncodeBlock(const float* x, const float* w, BlockQ5_0& block);
void EncodeBlock(const float* x, const float* w, BlockQ5_1& block);
void EncodeBlock(const float* x, const float* w, BlockQ8_0& block);
// Without a search, by ggml's rule: the weight of largest magnitude becomes ±127. Eight bits lose little by that.
void EncodeBlockPlainly(const float* x, BlockQ8_0& block);

// encode_k.cc
void EncodeBlock(const float* x, const float* w, BlockQ2_K& block);
void EncodeBlock(const float* x, const float* w, BlockQ3_K& block);
void EncodeBlock(const float* x, const float* w, BlockQ4_K& block);
void EncodeBlock(const float* x, const float* w, BlockQ5_K& block);
void EncodeBlock(const float* x, const float* w, BlockQ6_K& block);

// encode_iq4.cc
void EncodeBlock(const float* x, const float* w, BlockIQ4_NL& block);
void EncodeBlock(const float* x, const float* w, BlockIQ4_XS& block);

}  // namespace fedglm
