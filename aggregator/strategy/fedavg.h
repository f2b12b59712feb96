// FedAvg (McMahan et al. 2017, https://arxiv.org/abs/1602.05629): the global adapter plus the mean of the changes. A
// WeightedMean is all that memory holds.
#pragma once

#include "aggregator/strategy/strategy.h"

namespace fedglm {

class FedAvg : public Strategy {
 public:
  std::string_view name() const override { return "fedavg"; }
  bool Combines(UpdateForm form) const override;
  absl::StatusOr<std::unique_ptr<Aggregation>> Begin(const Adapter& global, UpdateForm form,
                                                     TensorMap state) const override;
};

}  // namespace fedglm
