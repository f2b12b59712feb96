// Decode's way in AVX-512 VNNI, for the types that have one. Included by products_avx512vnni.cc alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "inference/kernels/quantized_activations.h"
#include "inference/kernels/x86/decode_nibbles_avx512vnni.h"
#include "inference/kernels/x86/decode_superblocks_avx512vnni.h"
#include "inference/kernels/x86/row_walk_avx2.h"
#include "inference/quantization/block_type.h"
#include "inference/quantization/blocks.h"

namespace fedglm {
namespace {

template <typename Block>
int64_t DotRowsByFour(const std::byte* blocks, int64_t row_bytes, int64_t rows, const ActivationView& x, float* y) {
  int64_t r = 0;
  for (; r + kDotRows <= rows; r += kDotRows) DotFourRows<Block>(blocks + r * row_bytes, row_bytes, x, y + r);
  return r;
}

template <float (*kDotRow)(const std::byte* row, const ActivationView& x)>
int64_t DotRowsByOne(const std::byte* blocks, int64_t row_bytes, int64_t rows, const ActivationView& x, float* y) {
  for (int64_t r = 0; r < rows; ++r) y[r] = kDotRow(blocks + r * row_bytes, x);
  return rows;
}

// As ProductKernels::dot_rows, for the first of the rows. Returns how many.
int64_t DotFirstRows(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows, const ActivationView& x,
                     float* y) {
  switch (type) {
    case BlockType::kQ4_0:
      return DotRowsByFour<BlockQ4_0>(blocks, row_bytes, rows, x, y);
    case BlockType::kQ4_1:
      return DotRowsByFour<BlockQ4_1>(blocks, row_bytes, rows, x, y);
    case BlockType::kQ4_K:
      return DotRowsByOne<DotRowWithMinimums<BlockQ4_K>>(blocks, row_bytes, rows, x, y);
    case BlockType::kQ5_K:
      return DotRowsByOne<DotRowWithMinimums<BlockQ5_K>>(blocks, row_bytes, rows, x, y);
    case BlockType::kQ6_K:
      return DotRowsByOne<DotRowQ6_K512>(blocks, row_bytes, rows, x, y);
    default:
      return 0;
  }
}

}  // namespace
}  // namespace fedglm
