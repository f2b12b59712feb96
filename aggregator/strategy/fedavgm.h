// FedAvgM (Hsu et al. 2019, https://arxiv.org/abs/1909.06335): FedAvg with momentum on the server.
#pragma once

#include "aggregator/strategy/strategy.h"

namespace fedglm {

// For each trained value x, with d the mean change: u ← β u + d, x ← x + η u. The state is "u.NAME" for each trained
// tensor, in float32, and memory holds it.
class FedAvgM : public Strategy {
 public:
  std::string_view name() const override { return "fedavgm"; }
  bool Combines(UpdateForm form) const override { return IsChange(form); }
  absl::Status Visit(const NumberVisitor& visit) override;
  absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                            TensorMap state) const override;

 private:
  double learning_rate_ = 1.0;  // η
  double momentum_ = 0.9;       // β
};

}  // namespace fedglm
