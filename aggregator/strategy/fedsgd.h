// FedSGD: a step of the server against the mean of the gradients. A WeightedMean is all that memory holds.
#pragma once

#include "aggregator/strategy/strategy.h"

namespace fedglm {

class FedSgd : public Strategy {
 public:
  std::string_view name() const override { return "fedsgd"; }
  bool Combines(UpdateForm form) const override { return form == UpdateForm::kGradientOfB; }
  absl::Status Visit(const NumberVisitor& visit) override;
  absl::StatusOr<std::unique_ptr<Aggregation>> Begin(const Adapter& global, UpdateForm form,
                                                     TensorMap state) const override;

 private:
  double learning_rate_ = 1.0;
};

}  // namespace fedglm
