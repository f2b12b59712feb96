// The forward pass of training: the same arithmetic as inference/model, differentiable, over packed sequences.
#pragma once

#include <torch/types.h>

#include <vector>

#include "inference/gguf/architecture.h"
#include "training/data/batches.h"
#include "training/model/weights.h"

namespace fedglm {

// Immutable after construction; `weights` must outlive it.
class TransformerLoss {
 public:
  // frequencies: as RotaryFrequencies gives them.
  TransformerLoss(const Hyperparameters& hyperparameters, std::vector<double> frequencies, const Weights& weights);

  // Sum of the cross entropies of the batch's targets: a scalar (double), differentiable.
  at::Tensor operator()(const Batch& batch) const;

 private:
  struct Rotation {
    at::Tensor cosines, sines;  // [tokens][1][rotary_size / 2]
  };
  Rotation RotationOf(const Batch& batch) const;
  at::Tensor Rotate(const at::Tensor& heads, const Rotation& rotation) const;
  at::Tensor Norm(const at::Tensor& x, const std::string& name) const;
  at::Tensor Attention(const std::string& prefix, const at::Tensor& x, const Batch& batch, const Rotation& rotation) const;
  at::Tensor FeedForward(const std::string& prefix, const at::Tensor& x) const;

  const Hyperparameters hyperparameters_;
  const std::vector<double> frequencies_;
  const Weights& weights_;
};

}  // namespace fedglm
