// FedAdam (Reddi et al. 2021, Adaptive Federated Optimization, https://arxiv.org/abs/2003.00295, algorithm 2): Adam on
// the server, with the mean of the changes in the place of the gradient, and without bias correction.
#pragma once

#include "aggregator/strategy/strategy.h"

namespace fedglm {

// For each trained value x, with d the mean change:
//   m ← β1 m + (1 − β1) d        v ← β2 v + (1 − β2) d²        x ← x + η m / (√v + τ)
// Before the first round m = 0 and v = τ². The state is "m.NAME" and "v.NAME" for each trained tensor, in float32.
// Memory holds it beside a WeightedMean.
class FedAdam : public Strategy {
 public:
  std::string_view name() const override { return "fedadam"; }
  bool Combines(UpdateForm form) const override;
  absl::Status Visit(const NumberVisitor& visit) override;
  absl::StatusOr<std::unique_ptr<Aggregation>> Begin(const Adapter& global, UpdateForm form,
                                                     TensorMap state) const override;

  struct Options {
    double learning_rate = 0.01;  // η
    double beta1 = 0.9, beta2 = 0.99;
    double tau = 1e-3;  // τ, the degree of adaptivity; the paper's default, as are both β
  };

 private:
  Options options_;
};

}  // namespace fedglm
