// The model as LibTorch's own operations over packed sequences: for weights that are all trained, and the reference of
// what is written by hand (training/layer).
#pragma once

#include <torch/types.h>

#include <vector>

#include "inference/gguf/architecture.h"
#include "training/model/trained_model.h"
#include "training/model/weights.h"

namespace fedglm {

// `weights` must outlive it.
class TransformerLoss : public TrainedModel {
 public:
  // frequencies: as RotaryFrequencies gives them.
  TransformerLoss(const Hyperparameters& hyperparameters, std::vector<double> frequencies, const Weights& weights);

  // Sum of the cross entropies of the batch's targets: a scalar (double), differentiable.
  at::Tensor operator()(const Batch& batch) const;

  double Loss(const Batch& batch) override;
  double AddGradients(const Batch& batch, double weight) override;
  std::vector<at::Tensor> Parameters() const override { return weights_.Parameters(); }

 private:
  struct Rotation {
    at::Tensor cosines, sines;  // [tokens][1][rotary_size / 2]
  };
  // How the segments of a batch are computed: one by one, or all at once with padding.
  struct SegmentLayout {
    int64_t segments = 0, longest = 0;
    at::Tensor mask;  // [longest][longest]
    bool padded = false;
    at::Tensor spread, gather;  // rows: packed → padded [segments * longest], and back [tokens]
  };
  Rotation RotationOf(const Batch& batch) const;
  static SegmentLayout LayoutOf(const Batch& batch);
  at::Tensor Rotate(const at::Tensor& heads, const Rotation& rotation) const;
  at::Tensor Norm(const at::Tensor& x, const std::string& name) const;
  at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Batch& batch,
                    const SegmentLayout& layout) const;
  at::Tensor Attention(const std::string& prefix, const at::Tensor& x, const Batch& batch, const SegmentLayout& layout,
                       const Rotation& rotation) const;
  at::Tensor FeedForward(const std::string& prefix, const at::Tensor& x) const;

  const Hyperparameters hyperparameters_;
  const std::vector<double> frequencies_;
  const Weights& weights_;
};

}  // namespace fedglm
