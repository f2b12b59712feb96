// The products with weights, as one instruction set has them. Private to this folder.
#pragma once

#include <cstddef>
#include <cstdint>

#include "inference/kernels/quantized_activations.h"
#include "inference/quantization/block_type.h"

namespace fedglm {

// A function that is nullptr is that of the set in the row above (instruction_sets.cc).
struct ProductKernels {
  void (*decode_row)(BlockType type, const std::byte* blocks, float* weights, int64_t columns) = nullptr;

  // y[t * y_stride + r] = sum_c w[r][c] x[t][c] for a tile of rows of F32 (aligned, and so decoded ones too), F16 or
  // BF16: w [rows][columns], x [tokens][x_stride].
  void (*multiply_tile)(BlockType type, const std::byte* w, int64_t rows, int64_t columns, const float* x,
                        int64_t x_stride, int64_t tokens, float* y, int64_t y_stride) = nullptr;
  // dx[t * dx_stride + c] += sum_r dy[t * dy_stride + r] w[r * w_stride + c], c < columns. Each sum is taken row after
  // row, whatever the tile.
  void (*accumulate_tile)(const float* w, int64_t w_stride, int64_t rows, int64_t columns, const float* dy,
                          int64_t dy_stride, int64_t tokens, float* dx, int64_t dx_stride) = nullptr;

  // The same for rows of BF16, x [tokens][columns], by instructions for BF16. No set need have it: then it is
  // multiply_tile's.
  void (*multiply_bf16)(const std::byte* w, int64_t rows, int64_t columns, const float* x, int64_t tokens, float* y,
                        int64_t y_stride) = nullptr;

  // QuantizeRow of quantized_activations.h: the same bits from every instruction set.
  void (*quantize_row)(const float* x, int64_t columns, int8_t* values, int16_t* wide, float* scales, float* block_sums,
                       float* half_sums) = nullptr;
  // What follows is for types with levels (RangeOf in levels.h). W's rows begin at `blocks`, row_bytes apart.
  // y[r] = sum_c W[r][c] x[c], for the one row in x.
  void (*dot_rows)(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows, const ActivationView& x,
                   float* y) = nullptr;
  // y[t * y_stride + r] = sum_c W[r][c] x[t][c], for at most kLevelTileRows rows.
  void (*multiply_levels)(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows,
                          const ActivationView& x, int64_t tokens, float* y, int64_t y_stride) = nullptr;
};

inline constexpr int64_t kLevelTileRows = 32;

// Those of the instruction set in use (instruction_sets.h), with nothing left out but multiply_bf16.
const ProductKernels& ChosenProducts();

// For the table of instruction sets: each is defined only where the build holds its code. Constants: to look at them
// must not run an instruction that the CPU may lack.
extern const ProductKernels kScalarProducts;
extern const ProductKernels kAvx2Products;
extern const ProductKernels kAvx512Products;
extern const ProductKernels kAvx512VnniProducts;
extern const ProductKernels kAvx512Bf16Products;
extern const ProductKernels kAmxProducts;
extern const ProductKernels kNeonProducts;
extern const ProductKernels kNeonI8mmProducts;

}  // namespace fedglm
