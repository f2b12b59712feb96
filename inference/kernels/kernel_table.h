// What one instruction set implements. Private to this folder.
#pragma once

#include <cstddef>
#include <cstdint>

#include "inference/quantization/block_type.h"

namespace fedglm {

struct KernelTable {
  const char* name;
  bool (*supported)();  // by this CPU

  void (*decode_row)(BlockType type, const std::byte* blocks, float* weights, int64_t columns);
  float (*dot)(const float* a, const float* b, int64_t count);
  void (*add_scaled)(float scale, const float* x, float* y, int64_t count);

  // y[t * y_stride + r] = sum_c w[r][c] x[t][c] for a tile of decoded rows: w [rows][columns], x [tokens][x_stride].
  void (*multiply_tile)(const float* w, int64_t rows, int64_t columns, const float* x, int64_t x_stride, int64_t tokens,
                        float* y, int64_t y_stride);
  // dx[t * dx_stride + c] += sum_r dy[t * dy_stride + r] w[r][c]
  void (*accumulate_tile)(const float* w, int64_t rows, int64_t columns, const float* dy, int64_t dy_stride,
                          int64_t tokens, float* dx, int64_t dx_stride);
};

// nullptr where this build has no such code (another processor family).
const KernelTable* ScalarKernels();
const KernelTable* Avx2Kernels();
const KernelTable* Avx512Kernels();

}  // namespace fedglm
