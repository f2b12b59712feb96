// Causal attention over packed sequences, forward and backward, a block of rows at a time: no probability outlives its
// block (Dao et al. 2022, https://arxiv.org/abs/2205.14135).
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "training/layer/float_buffer.h"

namespace fedglm {

struct AttentionShape {
  int64_t heads = 0, kv_heads = 0, head_size = 0;  // `heads` is a multiple of `kv_heads`
  int64_t query_width() const { return heads * head_size; }
  int64_t kv_width() const { return kv_heads * head_size; }
};

// Sequences lie one behind the other: sequence s is tokens segments[s] to segments[s + 1], and no token sees another
// sequence. Head h reads the key and the value of head h / (heads / kv_heads). Not thread-safe.
class Attention {
 public:
  Attention(const AttentionShape& shape, ThreadPool& pool) : shape_(shape), pool_(pool) {}

  // out[i] = sum_j softmax_j(q[i] k[j] / sqrt(head_size)) v[j], j up to i. log_sums: [tokens][heads], the logarithm of
  // each row's sum of exponentials. q, out: [tokens][heads * head_size]; k, v: [tokens][kv_heads * head_size].
  void Forward(std::span<const int64_t> segments, const float* q, const float* k, const float* v, float* out,
               float* log_sums) const;

  // dq, dk, dv from dout, and from what went forward and came out. dq may be q, dk k and dv v.
  void Backward(std::span<const int64_t> segments, const float* q, const float* k, const float* v, const float* out,
                const float* log_sums, const float* dout, float* dq, float* dk, float* dv);

 private:
  const AttentionShape shape_;
  ThreadPool& pool_;
  FloatBuffer dk_, dv_;  // of each head, before those that share a key are added: [tokens][heads * head_size]
};

}  // namespace fedglm
