// The whole model, forward and backward: the loss of a batch under a mapped base with LoRA factors, and the factors'
// gradients. Of most layers only the input is kept; the rest is computed again on the way back.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "inference/gguf/architecture.h"
#include "inference/quantization/weight_matrix.h"
#include "training/data/batches.h"
#include "training/layer/output_loss.h"
#include "training/layer/rotation.h"
#include "training/layer/transformer_layer.h"

namespace fedglm {

// It owns nothing.
struct AdaptedWeights {
  WeightMatrix embedding, output;
  const float* output_norm = nullptr;  // [hidden]
  std::vector<AdaptedLayer> layers;
};

struct TransformerOptions {
  std::vector<double> frequencies;  // as RotaryFrequencies gives them
  Arithmetic arithmetic = Arithmetic::kServed;
  // What may be kept between the passes: the layers' inputs in any case, and of as many layers as fit, from the last
  // one down, all that their backward pass needs.
  uint64_t activation_bytes = 0;
};

// Not thread-safe.
class AdaptedTransformer {
 public:
  // `hyperparameters` and `pool` outlive it.
  AdaptedTransformer(const Hyperparameters& hyperparameters, TransformerOptions options, ThreadPool& pool);

  // The sum of the cross entropies of the batch's targets.
  double Loss(const AdaptedWeights& weights, const Batch& batch);
  // The same, and adds `weight` times its gradient to those that the weights name.
  double AddGradients(const AdaptedWeights& weights, const Batch& batch, double weight);

 private:
  void Embed(const AdaptedWeights& weights, const Batch& batch, float* x);
  // How many of the last layers are kept whole for a batch of so many tokens.
  int64_t KeptLayers(const AdaptedWeights& weights, int64_t tokens);
  PackedSequences Pack(const Batch& batch);
  // The loss from the last layer's result x [tokens][hidden]. With `dx`: its gradient.
  double LossOfHidden(const AdaptedWeights& weights, const Batch& batch, const float* x, double weight, float* dx);

  const Hyperparameters& h_;
  const TransformerOptions options_;
  ThreadPool& pool_;
  TransformerLayer layer_;
  OutputLoss output_loss_;
  Rotation rotation_;
  int64_t most_tokens_ = 0;
  std::vector<FloatBuffer> inputs_;            // of each layer, and the last one's result
  std::vector<LayerActivations> activations_;  // of the layers that are kept, the last layer's first
  FloatBuffer gradient_, normed_;
};

}  // namespace fedglm
