// FedAvg (McMahan et al. 2017, https://arxiv.org/abs/1602.05629): the global adapter plus the mean of the changes.
// Memory holds one tensor's sum.
#pragma once

#include "aggregator/strategy/strategy.h"

namespace fedglm {

class FedAvg : public Strategy {
 public:
  std::string_view name() const override { return "fedavg"; }
  bool Combines(UpdateForm form) const override { return IsChange(form); }
  absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                            TensorMap state) const override;
};

}  // namespace fedglm
