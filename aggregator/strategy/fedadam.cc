#include "aggregator/strategy/fedadam.h"

#include <cmath>
#include <string>
#include <vector>

#include "aggregator/strategy/weighted_mean.h"

namespace fedglm {
namespace {

class FedAdamRound : public Aggregation {
 public:
  FedAdamRound(const Adapter& global, UpdateForm form, const FedAdam::Options& options, TensorMap state)
      : mean_(global, form), options_(options), state_(std::move(state)) {}

  absl::Status Fold(const TensorMap& update, int64_t examples) override { return mean_.Fold(update, examples); }

  absl::StatusOr<AggregationResult> Finish() override {
    if (mean_.examples() == 0) return FailedError("no update to average");
    AggregationResult result;
    result.adapter = mean_.MapTrained([this](const std::string& name, const std::vector<double>& sums, Matrix& x) {
      Step(sums, state_.at("m." + name), state_.at("v." + name), x);
    });
    result.state = std::move(state_);
    return result;
  }

 private:
  // With m and v as they are kept, in float32: a restart changes nothing.
  void Step(const std::vector<double>& sums, Matrix& m, Matrix& v, Matrix& x) const {
    const FedAdam::Options& o = options_;
    for (size_t i = 0; i < sums.size(); ++i) {
      const double d = sums[i] / static_cast<double>(mean_.examples());
      m.values[i] = static_cast<float>(o.beta1 * m.values[i] + (1 - o.beta1) * d);
      v.values[i] = static_cast<float>(o.beta2 * v.values[i] + (1 - o.beta2) * d * d);
      x.values[i] = static_cast<float>(x.values[i] + o.learning_rate * m.values[i] /
                                                         (std::sqrt(static_cast<double>(v.values[i])) + o.tau));
    }
  }

  WeightedMean mean_;
  const FedAdam::Options options_;
  TensorMap state_;
};

TensorMap FirstState(const TensorMap& trained, double tau) {
  TensorMap state;
  for (const auto& [name, tensor] : trained) {
    state["m." + name] = Matrix::Zero(tensor.rows, tensor.columns);
    Matrix& v = state["v." + name] = Matrix::Zero(tensor.rows, tensor.columns);
    v.values.assign(v.values.size(), static_cast<float>(tau * tau));
  }
  return state;
}

absl::Status CheckState(const TensorMap& trained, const TensorMap& state) {
  for (const auto& [name, tensor] : trained) {
    for (const char* moment : {"m.", "v."}) {
      const auto found = state.find(moment + name);
      if (found == state.end() || found->second.rows != tensor.rows || found->second.columns != tensor.columns) {
        return BadFileError("the state is not FedAdam's for this adapter: " + (moment + name));
      }
    }
  }
  if (state.size() != 2 * trained.size()) return BadFileError("the state is not FedAdam's for this adapter");
  return absl::OkStatus();
}

}  // namespace

bool FedAdam::Combines(UpdateForm form) const {
  return form == UpdateForm::kChangeOfB || form == UpdateForm::kChangeOfFactors;
}

absl::Status FedAdam::Visit(const NumberVisitor& visit) {
  constexpr double kMostDecay = 0.9999;
  FEDGLM_RETURN_IF_ERROR(visit("aggregation.learning_rate", options_.learning_rate, 0, 1e6));
  FEDGLM_RETURN_IF_ERROR(visit("aggregation.beta1", options_.beta1, 0, kMostDecay));
  FEDGLM_RETURN_IF_ERROR(visit("aggregation.beta2", options_.beta2, 0, kMostDecay));
  return visit("aggregation.tau", options_.tau, 1e-9, 1e6);
}

absl::StatusOr<std::unique_ptr<Aggregation>> FedAdam::Begin(const Adapter& global, UpdateForm form,
                                                            TensorMap state) const {
  const TensorMap trained = TensorsOf(global, form);
  if (state.empty()) state = FirstState(trained, options_.tau);
  FEDGLM_RETURN_IF_ERROR(CheckState(trained, state));
  return std::make_unique<FedAdamRound>(global, form, options_, std::move(state));
}

}  // namespace fedglm
