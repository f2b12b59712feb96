// FedSGD: a step of the server against the mean of the gradients. Memory holds one tensor's sum.
#pragma once

#include "aggregator/strategy/strategy.h"

namespace fedglm {

class FedSgd : public Strategy {
 public:
  std::string_view name() const override { return "fedsgd"; }
  bool Combines(UpdateForm form) const override { return form == UpdateForm::kGradientOfB; }
  absl::Status Visit(const NumberVisitor& visit) override;
  absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                            TensorMap state) const override;

 private:
  double learning_rate_ = 1.0;
};

}  // namespace fedglm
