#include "aggregator/strategy/fedsgd.h"

#include "aggregator/strategy/weighted_mean.h"

namespace fedglm {

absl::Status FedSgd::Visit(const NumberVisitor& visit) {
  return visit("federation.server_learning_rate", learning_rate_, 0, 1e6);
}

absl::StatusOr<std::unique_ptr<Aggregation>> FedSgd::Begin(const Adapter& global, UpdateForm form, TensorMap) const {
  return std::make_unique<MeanStep>(global, form, -learning_rate_);
}

}  // namespace fedglm
