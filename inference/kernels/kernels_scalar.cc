// The reference: one number after the other, what the others are tested against.
#include "inference/kernels/kernel_table.h"
#include "inference/quantization/decode_blocks.h"

namespace fedglm {
namespace {

bool Supported() { return true; }

float DotScalar(const float* a, const float* b, int64_t count) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

void AddScaledScalar(float scale, const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] += scale * x[i];
}

void MultiplyTileScalar(const float* w, int64_t rows, int64_t columns, const float* x, int64_t x_stride, int64_t tokens,
                        float* y, int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < rows; ++r) y[t * y_stride + r] = DotScalar(w + r * columns, x + t * x_stride, columns);
  }
}

void AccumulateTileScalar(const float* w, int64_t rows, int64_t columns, const float* dy, int64_t dy_stride,
                          int64_t tokens, float* dx, int64_t dx_stride) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < rows; ++r) AddScaledScalar(dy[t * dy_stride + r], w + r * columns, dx + t * dx_stride, columns);
  }
}

}  // namespace

const KernelTable* ScalarKernels() {
  static const KernelTable table = {"scalar",        Supported,          DecodeBlocksOf,      DotScalar,
                                    AddScaledScalar, MultiplyTileScalar, AccumulateTileScalar};
  return &table;
}

}  // namespace fedglm
