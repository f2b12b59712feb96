#include "aggregator/strategy/weighted_mean.h"

namespace fedglm {

WeightedMean::WeightedMean(const Adapter& global, UpdateForm form) : global_(global), form_(form) {
  for (const auto& [name, tensor] : TensorsOf(global, form)) sums_[name].resize(tensor.values.size());
}

absl::Status WeightedMean::Fold(const TensorMap& update, int64_t examples) {
  if (examples < 1) return RefusedError("an update must come from at least one example");
  FEDGLM_RETURN_IF_ERROR(CheckUpdate(update, global_, form_));
  for (const auto& [name, tensor] : update) {
    std::vector<double>& sum = sums_[name];
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(examples) * tensor.values[i];
  }
  examples_ += examples;
  return absl::OkStatus();
}

absl::StatusOr<AggregationResult> MeanStep::Finish() {
  if (mean_.examples() == 0) return FailedError("no update to average");
  const double scale = step_ / static_cast<double>(mean_.examples());
  AggregationResult result;
  result.adapter = mean_.MapTrained([&](const std::string&, const std::vector<double>& sums, Matrix& matrix) {
    for (size_t i = 0; i < sums.size(); ++i) {
      matrix.values[i] = static_cast<float>(matrix.values[i] + scale * sums[i]);
    }
  });
  return result;
}

}  // namespace fedglm
