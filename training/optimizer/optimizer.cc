#include "training/optimizer/optimizer.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fedglm {

double LearningRateFactor(const TrainingJob& job, int64_t step) {
  const double at = static_cast<double>(step + job.schedule_offset);
  const double warmup = static_cast<double>(job.plan.warmup_steps);
  if (at < warmup) return (at + 1) / warmup;
  if (job.plan.schedule != "cosine") return 1.0;
  const double total = static_cast<double>(job.schedule_steps > 0 ? job.schedule_steps : job.plan.steps);
  const double progress = std::clamp((at - warmup) / std::max(1.0, total - warmup), 0.0, 1.0);
  return 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
}

struct Optimizer::State {
  TrainingJob job;
  std::vector<at::Tensor> parameters;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
};

Optimizer::Optimizer(const TrainingJob& job, std::vector<at::Tensor> parameters) : state_(std::make_unique<State>()) {
  state_->job = job;
  state_->parameters = parameters;
  if (job.plan.optimizer == "sgd") {
    state_->optimizer = std::make_unique<torch::optim::SGD>(parameters, torch::optim::SGDOptions(job.plan.learning_rate)
                                                                            .weight_decay(job.plan.weight_decay)
                                                                            .momentum(job.plan.momentum));
  } else {
    state_->optimizer =
        std::make_unique<torch::optim::AdamW>(parameters, torch::optim::AdamWOptions(job.plan.learning_rate)
                                                              .betas({job.plan.beta1, job.plan.beta2})
                                                              .eps(job.plan.epsilon)
                                                              .weight_decay(job.plan.weight_decay));
  }
}

Optimizer::~Optimizer() = default;

// In place: what LibTorch's own function does differs between its versions.
void Optimizer::ZeroGradients() {
  for (const at::Tensor& parameter : state_->parameters) {
    if (parameter.grad().defined()) parameter.grad().zero_();
  }
}

double Optimizer::Step(int64_t step) {
  // One after the other: LibTorch's own sum depends on the number of threads.
  double sum = 0;
  for (const at::Tensor& parameter : state_->parameters) {
    if (!parameter.grad().defined()) continue;
    const at::Tensor gradient = parameter.grad().contiguous();
    const float* const values = gradient.data_ptr<float>();
    for (int64_t i = 0; i < gradient.numel(); ++i) sum += static_cast<double>(values[i]) * values[i];
  }
  const double norm = std::sqrt(sum), limit = state_->job.plan.clip_norm;
  if (limit > 0 && norm > limit) {
    for (const at::Tensor& parameter : state_->parameters) {
      if (parameter.grad().defined()) parameter.grad().mul_(limit / norm);
    }
  }
  const double rate = state_->job.plan.learning_rate * LearningRateFactor(state_->job, step);
  for (torch::optim::OptimizerParamGroup& group : state_->optimizer->param_groups()) group.options().set_lr(rate);
  state_->optimizer->step();
  return norm;
}

}  // namespace fedglm
