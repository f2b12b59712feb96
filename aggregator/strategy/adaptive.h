// What FedAdam, FedYogi and FedAdagrad share (Reddi et al. 2021, Adaptive Federated Optimization,
// https://arxiv.org/abs/2003.00295, algorithm 2): an adaptive optimizer on the server, with the mean of the changes in
// the place of the gradient, and without bias correction.
#pragma once

#include <string_view>

#include "aggregator/strategy/strategy.h"

namespace fedglm {

// For each trained value x, with d the mean change:
//   m ← β1 m + (1 − β1) d        v ← NextMoment(v, d)        x ← x + η m / (√v + τ)
// Before the first round m = 0 and v = τ². The state is "m.NAME" and "v.NAME" for each trained tensor, in float32, and
// memory holds it.
class AdaptiveStrategy : public Strategy {
 public:
  bool Combines(UpdateForm form) const override { return IsChange(form); }
  absl::Status Visit(const NumberVisitor& visit) override;
  absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                            TensorMap state) const override;

 protected:
  // The paper's defaults, but for η, which it tunes for each task.
  struct Options {
    double learning_rate = 0.01;  // η
    double beta1 = 0.9, beta2 = 0.99;
    double tau = 1e-3;  // τ, the degree of adaptivity
  };
  explicit AdaptiveStrategy(const Options& options) : options_(options) {}
  virtual double NextMoment(double v, double d) const = 0;

  Options options_;

 private:
  absl::Status CheckState(const TensorMap& trained, const TensorMap& state) const;
  void Step(double d, float& m, float& v, float& x) const;
};

}  // namespace fedglm
