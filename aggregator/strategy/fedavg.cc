#include "aggregator/strategy/fedavg.h"

#include "aggregator/updates/exact_mean.h"

namespace fedglm {

absl::StatusOr<AggregationResult> FedAvg::Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                                  TensorMap) const {
  AggregationResult result;
  FEDGLM_ASSIGN_OR_RETURN(result.adapter, StepByMean(global, form, updates, 1.0));
  return result;
}

}  // namespace fedglm
