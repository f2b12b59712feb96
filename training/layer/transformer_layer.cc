#include "training/layer/transformer_layer.h"

#include <algorithm>

#include "inference/kernels/row_kernels.h"

namespace fedglm {
namespace {

constexpr int64_t kTokenGrain = 8;

AttentionShape ShapeOf(const Hyperparameters& h) { return {h.heads, h.kv_heads, h.head_size}; }

}  // namespace

int64_t LayerActivations::FloatsPerToken(const Hyperparameters& h, const AdaptedLayer& weights) {
  const int64_t heads = h.query_width() + h.kv_width();
  int64_t floats = heads + h.kv_width() + h.query_width() + h.heads + h.hidden + 2 * h.feed_forward;
  if (weights.query_norm != nullptr) floats += heads;
  if (weights.post_attention_norm != nullptr) floats += h.hidden;
  if (weights.post_feed_forward_norm != nullptr) floats += h.hidden;
  return floats;
}

TransformerLayer::TransformerLayer(const Hyperparameters& hyperparameters, Arithmetic arithmetic, ThreadPool& pool)
    : h_(hyperparameters),
      arithmetic_(arithmetic),
      pool_(pool),
      attention_(ShapeOf(hyperparameters), pool),
      linear_(pool) {}

void TransformerLayer::Norm(const float* x, const float* weight, int64_t rows, int64_t width, float* y) {
  const RowKernels& kernels = ChosenRowKernels();
  pool_.ParallelFor(rows, kTokenGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (weight != nullptr) {
        kernels.rms_norm(x + i * width, weight, h_.rms_epsilon, width, y + i * width);
      } else {
        std::copy_n(x + i * width, width, y + i * width);
      }
    }
  });
}

void TransformerLayer::NormGradient(const float* x, const float* weight, float* dy, int64_t rows, int64_t width) {
  const RowKernels& kernels = ChosenRowKernels();
  pool_.ParallelFor(rows, kTokenGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      kernels.rms_norm_gradient(x + i * width, weight, dy + i * width, h_.rms_epsilon, width, dy + i * width);
    }
  });
}

void TransformerLayer::AddNormGradient(const float* x, const float* weight, float* dy, int64_t rows, float* sum) {
  if (weight != nullptr) NormGradient(x, weight, dy, rows, h_.hidden);
  AddRows(dy, rows, sum);
}

void TransformerLayer::AddBranch(const float* x, const float* branch, const float* norm, int64_t rows, float* y) {
  Norm(branch, norm, rows, h_.hidden, y);
  AddRows(x, rows, y);
}

void TransformerLayer::AddRows(const float* x, int64_t rows, float* sum) {
  const RowKernels& kernels = ChosenRowKernels();
  const int64_t width = h_.hidden;
  pool_.ParallelFor(rows, kTokenGrain, [&](int64_t begin, int64_t end) {
    kernels.add(x + begin * width, sum + begin * width, (end - begin) * width);
  });
}

const float* TransformerLayer::BranchGradient(const float* branch, const float* norm, const float* dy, int64_t rows) {
  if (norm == nullptr) return dy;
  float* const gradient = branch_.Room(rows * h_.hidden);
  std::copy_n(dy, rows * h_.hidden, gradient);
  NormGradient(branch, norm, gradient, rows, h_.hidden);
  return gradient;
}

TransformerLayer::GatedRows TransformerLayer::Gated(LayerActivations& a, int64_t tokens) const {
  const int64_t width = h_.feed_forward;
  float* const up = a.up_.Room(tokens * h_.up_width());
  if (h_.architecture->gate_in_up) return {up, up + width, 2 * width};
  return {a.gate_.Room(tokens * width), up, width};
}

void TransformerLayer::GatedProduct(LayerActivations& a, int64_t tokens, float* out) {
  const RowKernels& kernels = ChosenRowKernels();
  const GatedRows rows = Gated(a, tokens);
  const int64_t width = h_.feed_forward;
  pool_.ParallelFor(tokens, kTokenGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      kernels.silu_multiply(rows.gate + t * rows.stride, rows.up + t * rows.stride, out + t * width, width);
    }
  });
}

void TransformerLayer::ForwardAttention(const AdaptedLayer& weights, const PackedSequences& sequences, const float* x,
                                        LayerActivations& a) {
  const int64_t tokens = sequences.tokens();
  float* const normed = normed_.Room(tokens * h_.hidden);
  Norm(x, weights.attention_norm, tokens, h_.hidden, normed);
  input_.Assign(arithmetic_, normed, tokens, h_.hidden, pool_);
  // The result of a projection goes straight to where attention reads it, unless a norm is to be undone later.
  const auto project = [&](const AdaptedLinear& linear, const float* norm, int64_t heads, FloatBuffer& before_norm,
                           FloatBuffer& result) {
    const int64_t width = heads * h_.head_size;
    float* const rows = result.Room(tokens * width);
    float* const projected = norm == nullptr ? rows : before_norm.Room(tokens * width);
    linear_.Forward(linear, input_, projected);
    if (norm != nullptr) Norm(projected, norm, tokens * heads, h_.head_size, rows);
    return rows;
  };
  float* const q = project(weights.q, weights.query_norm, h_.heads, a.q_before_norm_, a.q_);
  float* const k = project(weights.k, weights.key_norm, h_.kv_heads, a.k_before_norm_, a.k_);
  float* const v = a.v_.Room(tokens * h_.kv_width());
  linear_.Forward(weights.v, input_, v);
  sequences.rotation->Rotate(q, h_.heads, h_.head_size, pool_);
  sequences.rotation->Rotate(k, h_.kv_heads, h_.head_size, pool_);
  float* const mixed = a.mixed_.Room(tokens * h_.query_width());
  attention_.Forward(sequences.segments, q, k, v, mixed, a.log_sums_.Room(tokens * h_.heads));
  input_.Assign(arithmetic_, mixed, tokens, h_.query_width(), pool_);
  FloatBuffer& result = weights.post_attention_norm != nullptr ? a.branch_ : branch_;
  float* const branch = result.Room(tokens * h_.hidden);
  linear_.Forward(weights.output, input_, branch);
  AddBranch(x, branch, weights.post_attention_norm, tokens, a.middle_.Room(tokens * h_.hidden));
}

void TransformerLayer::ForwardFeedForward(const AdaptedLayer& weights, int64_t tokens, float* y, LayerActivations& a) {
  const float* const middle = a.middle_.data();
  float* const normed = normed_.Room(tokens * h_.hidden);
  Norm(middle, weights.feed_forward_norm, tokens, h_.hidden, normed);
  input_.Assign(arithmetic_, normed, tokens, h_.hidden, pool_);
  const GatedRows rows = Gated(a, tokens);
  if (!h_.architecture->gate_in_up) linear_.Forward(weights.gate, input_, rows.gate);
  linear_.Forward(weights.up, input_, a.up_.data());
  if (y == nullptr && weights.post_feed_forward_norm == nullptr) return;
  float* const product = wide_.Room(tokens * h_.feed_forward);
  GatedProduct(a, tokens, product);
  input_.Assign(arithmetic_, product, tokens, h_.feed_forward, pool_);
  FloatBuffer& result = weights.post_feed_forward_norm != nullptr ? a.down_ : branch_;
  float* const down = result.Room(tokens * h_.hidden);
  linear_.Forward(weights.down, input_, down);
  if (y != nullptr) AddBranch(middle, down, weights.post_feed_forward_norm, tokens, y);
}

void TransformerLayer::Forward(const AdaptedLayer& weights, const PackedSequences& sequences, const float* x, float* y,
                               LayerActivations& activations) {
  ForwardAttention(weights, sequences, x, activations);
  ForwardFeedForward(weights, sequences.tokens(), y, activations);
}

void TransformerLayer::BackwardFeedForward(const AdaptedLayer& weights, int64_t tokens, LayerActivations& a,
                                           float* dy) {
  const RowKernels& kernels = ChosenRowKernels();
  const int64_t width = h_.feed_forward;
  const float* const branch_gradient = BranchGradient(a.down_.data(), weights.post_feed_forward_norm, dy, tokens);
  float* const product = wide_.Room(2 * tokens * width);
  float* const product_gradient = product + tokens * width;
  GatedProduct(a, tokens, product);
  linear_.Backward(weights.down, product, branch_gradient, tokens, product_gradient, Into::kOverwrite);
  const GatedRows rows = Gated(a, tokens);
  pool_.ParallelFor(tokens, kTokenGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float *const gate = rows.gate + t * rows.stride, *const up = rows.up + t * rows.stride;
      kernels.silu_multiply_gradient(gate, up, product_gradient + t * width, gate, up, width);
    }
  });
  float* const normed = normed_.Room(tokens * h_.hidden);
  Norm(a.middle_.data(), weights.feed_forward_norm, tokens, h_.hidden, normed);
  float* const input_gradient = input_gradient_.Room(tokens * h_.hidden);
  linear_.Backward(weights.up, normed, a.up_.data(), tokens, input_gradient, Into::kOverwrite);
  if (!h_.architecture->gate_in_up) {
    linear_.Backward(weights.gate, normed, rows.gate, tokens, input_gradient, Into::kAdd);
  }
  AddNormGradient(a.middle_.data(), weights.feed_forward_norm, input_gradient, tokens, dy);
}

void TransformerLayer::BackwardAttention(const AdaptedLayer& weights, const PackedSequences& sequences, const float* x,
                                         LayerActivations& a, float* dy, bool want_input) {
  const int64_t tokens = sequences.tokens();
  const float* const branch_gradient = BranchGradient(a.branch_.data(), weights.post_attention_norm, dy, tokens);
  float* const mixed_gradient = wide_.Room(tokens * h_.query_width());
  linear_.Backward(weights.output, a.mixed_.data(), branch_gradient, tokens, mixed_gradient, Into::kOverwrite);
  float *const dq = a.q_.data(), *const dk = a.k_.data(), *const dv = a.v_.data();  // in their place
  attention_.Backward(sequences.segments, dq, dk, dv, a.mixed_.data(), a.log_sums_.data(), mixed_gradient, dq, dk, dv);
  sequences.rotation->RotateBack(dq, h_.heads, h_.head_size, pool_);
  sequences.rotation->RotateBack(dk, h_.kv_heads, h_.head_size, pool_);
  if (weights.query_norm != nullptr) {
    NormGradient(a.q_before_norm_.data(), weights.query_norm, dq, tokens * h_.heads, h_.head_size);
  }
  if (weights.key_norm != nullptr) {
    NormGradient(a.k_before_norm_.data(), weights.key_norm, dk, tokens * h_.kv_heads, h_.head_size);
  }
  float* const normed = normed_.Room(tokens * h_.hidden);
  Norm(x, weights.attention_norm, tokens, h_.hidden, normed);
  float* const input_gradient = want_input ? input_gradient_.Room(tokens * h_.hidden) : nullptr;
  linear_.Backward(weights.q, normed, dq, tokens, input_gradient, Into::kOverwrite);
  linear_.Backward(weights.k, normed, dk, tokens, input_gradient, Into::kAdd);
  linear_.Backward(weights.v, normed, dv, tokens, input_gradient, Into::kAdd);
  if (want_input) AddNormGradient(x, weights.attention_norm, input_gradient, tokens, dy);
}

void TransformerLayer::Backward(const AdaptedLayer& weights, const PackedSequences& sequences, const float* x,
                                LayerActivations& activations, float* dy, bool want_input) {
  BackwardFeedForward(weights, sequences.tokens(), activations, dy);
  BackwardAttention(weights, sequences, x, activations, dy, want_input);
}

}  // namespace fedglm
