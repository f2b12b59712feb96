#include "aggregator/strategy/fedavgm.h"

#include <string>
#include <utility>

#include "aggregator/updates/exact_mean.h"
#include "aggregator/updates/trained_tensors.h"

namespace fedglm {

absl::Status FedAvgM::Visit(const NumberVisitor& visit) {
  FEDGLM_RETURN_IF_ERROR(visit("aggregation.learning_rate", learning_rate_, 0, 1e6));
  return visit("aggregation.momentum", momentum_, 0, 0.9999);
}

absl::StatusOr<AggregationResult> FedAvgM::Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                                   TensorMap state) const {
  const bool first = state.empty();
  size_t known = 0;
  const auto change = [&](const std::string& name, Matrix& x) -> absl::Status {
    Matrix& u = state["u." + name];
    if (first) u = Matrix::Zero(x.rows, x.columns);
    if (u.rows != x.rows || u.columns != x.columns) {
      return BadFileError("the state is not fedavgm's for this adapter: u." + name);
    }
    ++known;
    FEDGLM_ASSIGN_OR_RETURN(const ExactSum sum, SumOf(updates, name, x.values.size()));
    for (size_t i = 0; i < sum.size(); ++i) {
      u.values[i] = static_cast<float>(momentum_ * u.values[i] + sum.Mean(i));
      x.values[i] = static_cast<float>(x.values[i] + learning_rate_ * u.values[i]);
    }
    return absl::OkStatus();
  };
  AggregationResult result;
  FEDGLM_ASSIGN_OR_RETURN(result.adapter, ChangeTrained(global, form, change));
  if (state.size() != known) return BadFileError("the state is not fedavgm's for this adapter");
  result.state = std::move(state);
  return result;
}

}  // namespace fedglm
