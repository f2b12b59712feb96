// The loops over activations that are neither a product with weights nor worth a call for each number, as one
// instruction set has them. All float32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "inference/quantization/kv_format.h"

namespace fedglm {

struct RowKernels {
  // scores[i * stride + j] = sum_c queries[i][c] * keys[j][c].  queries: [m][size], keys: [n][size].
  void (*scores)(const float* queries, int64_t m, const float* keys, int64_t n, int64_t size, float* scores,
                 int64_t stride);
  // out[i * out_stride + c] += sum_j weights[i * stride + j] * rows[j * row_stride + c], c < size: n rows into m.
  void (*add_weighted)(const float* weights, int64_t stride, int64_t m, const float* rows, int64_t row_stride,
                       int64_t n, int64_t size, float* out, int64_t out_stride);
  float (*largest)(const float* x, int64_t count);  // count > 0
  // x[i] = exp(x[i] - highest) for x[i] <= highest, to 2 units in the last place; the result is their sum.
  float (*exponentials)(float* x, int64_t count, float highest);
  void (*scale)(float factor, float* x, int64_t count);
  void (*add)(const float* x, float* y, int64_t count);  // y += x
  // out[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + exp(-x)). out may be gate.
  void (*silu_multiply)(const float* gate, const float* up, float* out, int64_t count);
  // out[i] = x[i] / sqrt(mean(x^2) + epsilon) * weight[i]. out may be x. (Zhang & Sennrich 2019, arXiv:1910.07467)
  void (*rms_norm)(const float* x, const float* weight, double epsilon, int64_t width, float* out);
  // The gradients of silu_multiply's inputs from that of its result: dup = dout silu(gate),
  // dgate = dout up silu'(gate). dgate may be gate, and dup may be up.
  void (*silu_multiply_gradient)(const float* gate, const float* up, const float* dout, float* dgate, float* dup,
                                 int64_t count);
  // The gradient of rms_norm's input: with r = 1 / sqrt(mean(x^2) + epsilon) and g = dy weight,
  // dx[i] = r g[i] - r^3 mean(g x) x[i]. dx may be dy.
  void (*rms_norm_gradient)(const float* x, const float* weight, const float* dy, double epsilon, int64_t width,
                            float* dx);
  // One head's key or value as it lies in a page, and `rows` of them back. Halves are rounded to nearest and saturate.
  void (*encode_row)(KvFormat format, const float* x, int64_t size, std::byte* out);
  void (*decode_rows)(KvFormat format, const std::byte* rows, int64_t count, int64_t size, float* out);
};

// Those of the instruction set in use (instruction_sets.h).
const RowKernels& ChosenRowKernels();

// For the table of instruction sets alone: each is defined only where the build holds its code.
extern const RowKernels kPortableRows;
extern const RowKernels kAvx2Rows;
extern const RowKernels kAvx512Rows;

}  // namespace fedglm
