// The kernels of instruction sets that this machine may lack, compiled over emulation/immintrin.h.
#pragma once

#include "inference/kernels/product_kernels.h"

namespace fedglm {

using MultiplyLevelsFunction = decltype(ProductKernels::multiply_levels);
using MultiplyBf16Function = decltype(ProductKernels::multiply_bf16);

MultiplyLevelsFunction EmulatedAvx512Vnni();
// As ProductKernels::dot_rows, for the first of the rows; returns how many.
int64_t EmulatedAvx512VnniDot(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows,
                              const ActivationView& x, float* y);
MultiplyBf16Function EmulatedAvx512Bf16();
MultiplyLevelsFunction EmulatedAmx();
// Do this thread's tile registers hold nothing that the system would have to save?
bool EmulatedTilesReleased();

}  // namespace fedglm
