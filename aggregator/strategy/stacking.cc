#include "aggregator/strategy/stacking.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>

#include "aggregator/strategy/truncation.h"

namespace fedglm {
namespace {

class StackedRound : public Aggregation {
 public:
  explicit StackedRound(const Adapter& global) : global_(global) {}

  absl::Status Fold(const TensorMap& update, int64_t examples) override {
    if (examples < 1) return RefusedError("an update must come from at least one example");
    FEDGLM_RETURN_IF_ERROR(CheckUpdate(update, global_, UpdateForm::kFactors));
    for (const auto& [name, pair] : global_.modules) {
      stacks_[name].Add({update.at(name + ".lora_A"), update.at(name + ".lora_B")}, static_cast<double>(examples));
    }
    ++updates_;
    return absl::OkStatus();
  }

  absl::StatusOr<AggregationResult> Finish() override {
    if (updates_ == 0) return FailedError("no update to average");
    AggregationResult result;
    result.adapter.config = global_.config;
    double norm = 0, error = 0;
    for (const auto& [name, stack] : stacks_) {
      TruncatedPair truncated = TruncateToRank(stack.Mean(), global_.config.rank);
      norm += truncated.squared_norm;
      error += truncated.squared_error;
      result.adapter.modules[name] = std::move(truncated.pair);
    }
    result.truncation_error = norm > 0 ? std::sqrt(error / norm) : 0;
    return result;
  }

 private:
  const Adapter global_;
  std::map<std::string, FactorStack> stacks_;
  int64_t updates_ = 0;
};

}  // namespace

void FactorStack::Add(const LoraPair& pair, double weight) {
  pairs_.push_back(pair);
  weights_.push_back(weight);
}

StackedFactors FactorStack::Mean() const {
  const double total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  int64_t rank = 0;
  for (const LoraPair& pair : pairs_) rank += pair.a.rows;
  const int64_t inputs = pairs_.front().a.columns, outputs = pairs_.front().b.rows;
  StackedFactors stacked = {Matrix::Zero(rank, inputs), Matrix::Zero(outputs, rank)};
  int64_t offset = 0;
  for (size_t k = 0; k < pairs_.size(); ++k) {
    const LoraPair& pair = pairs_[k];
    std::copy(pair.a.values.begin(), pair.a.values.end(), stacked.a.values.begin() + offset * inputs);
    const double share = weights_[k] / total;
    for (int64_t row = 0; row < outputs; ++row) {
      for (int64_t column = 0; column < pair.b.columns; ++column) {
        stacked.b.values[static_cast<size_t>(row * rank + offset + column)] =
            static_cast<float>(share * pair.b.values[static_cast<size_t>(row * pair.b.columns + column)]);
      }
    }
    offset += pair.a.rows;
  }
  return stacked;
}

absl::StatusOr<std::unique_ptr<Aggregation>> Stacking::Begin(const Adapter& global, UpdateForm, TensorMap) const {
  return std::make_unique<StackedRound>(global);
}

}  // namespace fedglm
