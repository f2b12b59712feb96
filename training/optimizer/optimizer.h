// LibTorch's AdamW and SGD with a learning-rate schedule and gradient clipping.
#pragma once

#include <torch/types.h>

#include <memory>
#include <vector>

#include "adapter/training_job.h"

namespace fedglm {

// The factor on the learning rate at a step (from 0): linear warm-up from 1/warmup_steps to 1, then constant, or a
// cosine from 1 to 0 that ends at schedule_steps (Loshchilov & Hutter 2016, https://arxiv.org/abs/1608.03983).
double LearningRateFactor(const TrainingJob& job, int64_t step);

class Optimizer {
 public:
  Optimizer(const TrainingJob& job, std::vector<at::Tensor> parameters);
  ~Optimizer();

  void ZeroGradients();
  // One step with the gradients there are, clipped to job.plan.clip_norm. Returns their norm before clipping.
  double Step(int64_t step);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
