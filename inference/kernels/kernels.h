// The arithmetic of the engine and of the trainer's base layers, by the instruction set in use (instruction_sets.h).
// One scalar reference says what is right.
//
// MatMul over float rows and MatMulTransposed compute in float32 with float32 accumulation (over BF16 weights, where
// the CPU has instructions for them, MatMul with each float as the sum of two BF16 numbers). MatMul over QuantizedRows
// multiplies integers where that is faster: the engine's way, and the trainer's way forward unless it is to be exact,
// with the error of 8-bit activations.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "inference/quantization/weight_matrix.h"

namespace fedglm {

// y[t][r] = sum_c W[r][c] * x[t][c].  x: [tokens][columns], y: [tokens][rows], row-major, no overlap.
void MatMul(const WeightMatrix& weights, const float* x, int64_t tokens, float* y, ThreadPool& pool);

// Activations made ready once for all matrices that multiply them: each 32 values as 8-bit integers with a float32
// scale. The float rows are kept by reference for the block types that are multiplied in float32. Not thread-safe.
class QuantizedRows {
 public:
  // x: [tokens][columns], row-major; must outlive the use of this object or the next Assign. Memory is kept for the
  // next Assign.
  void Assign(const float* x, int64_t tokens, int64_t columns, ThreadPool& pool);

  int64_t tokens() const { return tokens_; }
  int64_t columns() const { return columns_; }
  const float* rows() const { return x_; }

 private:
  friend void MatMul(const WeightMatrix& weights, const QuantizedRows& x, float* y, ThreadPool& pool);
  const float* x_ = nullptr;
  int64_t tokens_ = 0, columns_ = 0;
  std::vector<int8_t> values_;  // as ActivationView in quantized_activations.h
  std::vector<int16_t> wide_;
  std::vector<float> scales_, block_sums_, half_sums_;
};

// y[t][r] = sum_c W[r][c] * x[t][c], [tokens][rows]: with integers for quantized types, in float32 for F32, F16 and
// BF16.
void MatMul(const WeightMatrix& weights, const QuantizedRows& x, float* y, ThreadPool& pool);

enum class Into { kOverwrite, kAdd };

// dx[t][c] = sum_r dy[t][r] * W[r][c], or that is added to what is there.  For the trainer's backward pass.
void MatMulTransposed(const WeightMatrix& weights, const float* dy, int64_t tokens, float* dx, ThreadPool& pool,
                      Into into = Into::kOverwrite);

// Decodes one row with the chosen instruction set: as DecodeRow in quantization/codec.h, which is the reference.
void DecodeRowFast(const WeightMatrix& weights, int64_t row, float* out);

}  // namespace fedglm
