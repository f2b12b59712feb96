// What a training loop needs of a model: its loss, the gradient of that, and what to train.
#pragma once

#include <torch/types.h>

#include <vector>

#include "training/data/batches.h"

namespace fedglm {

// Not thread-safe.
class TrainedModel {
 public:
  virtual ~TrainedModel() = default;

  // The sum of the cross entropies of the batch's targets.
  virtual double Loss(const Batch& batch) = 0;
  // The same, and adds `weight` times its gradient to the parameters'.
  virtual double AddGradients(const Batch& batch, double weight) = 0;
  virtual std::vector<at::Tensor> Parameters() const = 0;
};

}  // namespace fedglm
