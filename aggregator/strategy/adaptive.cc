#include "aggregator/strategy/adaptive.h"

#include <cmath>
#include <string>
#include <utility>

#include "aggregator/updates/exact_mean.h"
#include "aggregator/updates/trained_tensors.h"

namespace fedglm {
namespace {

TensorMap FirstState(const TensorMap& trained, double tau) {
  TensorMap state;
  for (const auto& [name, tensor] : trained) {
    state["m." + name] = Matrix::Zero(tensor.rows, tensor.columns);
    Matrix& v = state["v." + name] = Matrix::Zero(tensor.rows, tensor.columns);
    v.values.assign(v.values.size(), static_cast<float>(tau * tau));
  }
  return state;
}

}  // namespace

absl::Status AdaptiveStrategy::Visit(const NumberVisitor& visit) {
  constexpr double kMostDecay = 0.9999;
  FEDGLM_RETURN_IF_ERROR(visit("aggregation.learning_rate", options_.learning_rate, 0, 1e6));
  FEDGLM_RETURN_IF_ERROR(visit("aggregation.beta1", options_.beta1, 0, kMostDecay));
  FEDGLM_RETURN_IF_ERROR(visit("aggregation.beta2", options_.beta2, 0, kMostDecay));
  return visit("aggregation.tau", options_.tau, 1e-9, 1e6);
}

absl::Status AdaptiveStrategy::CheckState(const TensorMap& trained, const TensorMap& state) const {
  const std::string what = "the state is not " + std::string(name()) + "'s for this adapter";
  for (const auto& [tensor_name, tensor] : trained) {
    for (const char* moment : {"m.", "v."}) {
      const auto found = state.find(moment + tensor_name);
      if (found == state.end() || found->second.rows != tensor.rows || found->second.columns != tensor.columns) {
        return BadFileError(what + ": " + (moment + tensor_name));
      }
    }
  }
  return state.size() == 2 * trained.size() ? absl::OkStatus() : BadFileError(what);
}

// With m and v as they are kept, in float32: a restart changes nothing.
void AdaptiveStrategy::Step(double d, float& m, float& v, float& x) const {
  m = static_cast<float>(options_.beta1 * m + (1 - options_.beta1) * d);
  v = static_cast<float>(NextMoment(v, d));
  x = static_cast<float>(x + options_.learning_rate * m / (std::sqrt(static_cast<double>(v)) + options_.tau));
}

absl::StatusOr<AggregationResult> AdaptiveStrategy::Combine(const Adapter& global, UpdateForm form,
                                                            const RoundUpdates& updates, TensorMap state) const {
  {
    const TensorMap trained = TensorsOf(global, form);
    if (state.empty()) state = FirstState(trained, options_.tau);
    FEDGLM_RETURN_IF_ERROR(CheckState(trained, state));
  }
  const auto change = [&](const std::string& name, Matrix& x) -> absl::Status {
    FEDGLM_ASSIGN_OR_RETURN(const ExactSum sum, SumOf(updates, name, x.values.size()));
    Matrix &m = state.at("m." + name), &v = state.at("v." + name);
    for (size_t i = 0; i < sum.size(); ++i) Step(sum.Mean(i), m.values[i], v.values[i], x.values[i]);
    return absl::OkStatus();
  };
  AggregationResult result;
  FEDGLM_ASSIGN_OR_RETURN(result.adapter, ChangeTrained(global, form, change));
  result.state = std::move(state);
  return result;
}

}  // namespace fedglm
