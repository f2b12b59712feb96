// One transformer layer with LoRA factors, forward and backward, written by hand: in LibTorch's graph it would be a
// hundred operations, and the memory of all their results.
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "inference/gguf/architecture.h"
#include "training/layer/adapted_linear.h"
#include "training/layer/attention.h"
#include "training/layer/float_buffer.h"
#include "training/layer/rotation.h"

namespace fedglm {

// It owns nothing. Norms are [hidden], those of heads [head_size]; nullptr: the architecture has none there.
struct AdaptedLayer {
  const float *attention_norm = nullptr, *query_norm = nullptr, *key_norm = nullptr, *post_attention_norm = nullptr,
              *feed_forward_norm = nullptr, *post_feed_forward_norm = nullptr;
  AdaptedLinear q, k, v, output, gate, up, down;  // gate: none where its rows are the first of up
};

// Sequences one behind the other in a batch.
struct PackedSequences {
  std::span<const int64_t> segments;  // where each begins, and the number of tokens at the end
  const Rotation* rotation = nullptr;
  int64_t tokens() const { return segments.back(); }
};

// What a backward pass needs of its forward pass. Made by one, used by one; memory is kept for the next.
class LayerActivations {
 public:
  // Of a layer with these weights, for one token.
  static int64_t FloatsPerToken(const Hyperparameters& h, const AdaptedLayer& weights);

 private:
  friend class TransformerLayer;
  FloatBuffer q_, k_, v_;                      // as attention reads them
  FloatBuffer q_before_norm_, k_before_norm_;  // where heads have norms
  FloatBuffer mixed_, log_sums_;               // attention's result
  FloatBuffer branch_;                         // the output projection's result, where a norm follows
  FloatBuffer middle_;                         // the residual stream between attention and feed-forward
  FloatBuffer gate_, up_;                      // up_ holds both where they are one layer
  FloatBuffer down_;                           // the feed-forward's result, where a norm follows
};

// The passes through layers of one shape, one after the other, with the memory that they share. Not thread-safe.
class TransformerLayer {
 public:
  // `hyperparameters` and `pool` outlive it.
  TransformerLayer(const Hyperparameters& hyperparameters, Arithmetic arithmetic, ThreadPool& pool);

  // x, y: [tokens][hidden]; y may be x, or nullptr: only the activations are wanted.
  void Forward(const AdaptedLayer& weights, const PackedSequences& sequences, const float* x, float* y,
               LayerActivations& activations);

  // From dy: adds to the gradients of the factors and turns dy into the gradient of x, which is left out if
  // `want_input` is false: then dy is of no use afterwards. x, dy: [tokens][hidden]. `activations` are used up.
  void Backward(const AdaptedLayer& weights, const PackedSequences& sequences, const float* x,
                LayerActivations& activations, float* dy, bool want_input);

 private:
  void ForwardAttention(const AdaptedLayer& weights, const PackedSequences& sequences, const float* x,
                        LayerActivations& a);
  void ForwardFeedForward(const AdaptedLayer& weights, int64_t tokens, float* y, LayerActivations& a);
  void BackwardFeedForward(const AdaptedLayer& weights, int64_t tokens, LayerActivations& a, float* dy);
  void BackwardAttention(const AdaptedLayer& weights, const PackedSequences& sequences, const float* x,
                         LayerActivations& a, float* dy, bool want_input);
  // y = x normalised, row by row of `width`; a copy where there is no norm.
  void Norm(const float* x, const float* weight, int64_t rows, int64_t width, float* y);
  // sum += the norm's gradient; dy is overwritten. x: what was normalised.
  void AddNormGradient(const float* x, const float* weight, float* dy, int64_t rows, float* sum);
  // dy becomes the gradient of x.
  void NormGradient(const float* x, const float* weight, float* dy, int64_t rows, int64_t width);
  // y = x + branch, which a norm may stand before. y is none of the two.
  void AddBranch(const float* x, const float* branch, const float* norm, int64_t rows, float* y);
  void AddRows(const float* x, int64_t rows, float* sum);  // sum += x
  // The gradient of `branch`, on which `norm` (or nothing) follows, from dy; dy stays as it is.
  const float* BranchGradient(const float* branch, const float* norm, const float* dy, int64_t rows);
  // One row of up (and of gate, if it is apart) for each token: where they lie and how far apart.
  struct GatedRows {
    float *gate, *up;
    int64_t stride;
  };
  GatedRows Gated(LayerActivations& a, int64_t tokens) const;
  void GatedProduct(LayerActivations& a, int64_t tokens, float* out);

  const Hyperparameters& h_;
  const Arithmetic arithmetic_;
  ThreadPool& pool_;
  Attention attention_;
  LinearPass linear_;
  LinearInput input_;
  FloatBuffer normed_, wide_, branch_, input_gradient_;
};

}  // namespace fedglm
