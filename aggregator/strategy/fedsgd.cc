#include "aggregator/strategy/fedsgd.h"

#include "aggregator/updates/exact_mean.h"

namespace fedglm {

absl::Status FedSgd::Visit(const NumberVisitor& visit) {
  return visit("federation.server_learning_rate", learning_rate_, 0, 1e6);
}

absl::StatusOr<AggregationResult> FedSgd::Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                                  TensorMap) const {
  AggregationResult result;
  FEDGLM_ASSIGN_OR_RETURN(result.adapter, StepByMean(global, form, updates, -learning_rate_));
  return result;
}

}  // namespace fedglm
