// A linear layer over blocks as they lie in the mapped file, with LoRA factors beside it (Hu et al. 2021,
// https://arxiv.org/abs/2106.09685), forward and backward.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "inference/kernels/kernels.h"
#include "inference/quantization/weight_matrix.h"
#include "training/layer/float_buffer.h"

namespace fedglm {

// It owns nothing. y = x W^T + bias + scale (x A^T) B^T.
struct AdaptedLinear {
  WeightMatrix weight;          // [outputs][inputs]
  const float* bias = nullptr;  // [outputs]; nullptr: none
  int64_t rank = 0;             // 0: not adapted
  float scale = 0;
  const float* a = nullptr;  // [rank][inputs]
  const float* b = nullptr;  // [outputs][rank]
  // What the backward pass adds the factors' gradients to, shaped as they are; nullptr: not trained.
  float* a_gradient = nullptr;
  float* b_gradient = nullptr;
};

// With what the base's products are computed.
enum class Arithmetic {
  kExact,   // float32
  kServed,  // as the engine does: integers, with the error of 8-bit activations. Its gradient is taken for that of the
            // exact product (Bengio et al. 2013, https://arxiv.org/abs/1308.3432: straight through)
};

// An input made ready once for all layers that multiply it. `x` must outlive its use. Not thread-safe.
class LinearInput {
 public:
  // x: [tokens][width]
  void Assign(Arithmetic arithmetic, const float* x, int64_t tokens, int64_t width, ThreadPool& pool);

  const float* x() const { return x_; }
  int64_t tokens() const { return tokens_; }

 private:
  friend class LinearPass;
  Arithmetic arithmetic_ = Arithmetic::kExact;
  const float* x_ = nullptr;
  int64_t tokens_ = 0;
  QuantizedRows rows_;
};

// The passes through linear layers, one after the other, with the memory that they share. Every sum is taken in an
// order that does not depend on the number of threads. Not thread-safe.
class LinearPass {
 public:
  explicit LinearPass(ThreadPool& pool) : pool_(pool) {}

  // y: [tokens][outputs]
  void Forward(const AdaptedLinear& linear, const LinearInput& input, float* y);

  // From dy [tokens][outputs]: adds to the factors' gradients, and writes or adds to dx [tokens][inputs]; nullptr: not
  // wanted. x: what went forward, [tokens][inputs].
  void Backward(const AdaptedLinear& linear, const float* x, const float* dy, int64_t tokens, float* dx, Into into);

 private:
  // scale x A^T: [tokens][rank]
  const float* LowRank(const AdaptedLinear& linear, const float* x, int64_t tokens);
  const float* TransposedB(const AdaptedLinear& linear);  // [rank][outputs]
  // sums[r][c] += sum_t low_rank[t][r] wide[t][c].  low_rank: [tokens][rank], wide: [tokens][width].
  void AddOuterProducts(const float* low_rank, const float* wide, int64_t tokens, int64_t rank, int64_t width,
                        float* sums);

  ThreadPool& pool_;
  FloatBuffer low_rank_, low_rank_gradient_, transposed_, b_, b_gradient_;
};

}  // namespace fedglm
