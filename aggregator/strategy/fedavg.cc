#include "aggregator/strategy/fedavg.h"

#include "aggregator/strategy/weighted_mean.h"

namespace fedglm {

bool FedAvg::Combines(UpdateForm form) const {
  return form == UpdateForm::kChangeOfB || form == UpdateForm::kChangeOfFactors;
}

absl::StatusOr<std::unique_ptr<Aggregation>> FedAvg::Begin(const Adapter& global, UpdateForm form, TensorMap) const {
  return std::make_unique<MeanStep>(global, form, 1.0);
}

}  // namespace fedglm
