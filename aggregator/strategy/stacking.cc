#include "aggregator/strategy/stacking.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "aggregator/strategy/truncation.h"

namespace fedglm {
namespace {

// The factors of one module as every update has them.
absl::StatusOr<FactorStack> StackModule(const std::string& module, const LoraPair& global,
                                        const RoundUpdates& updates) {
  FactorStack stack;
  for (size_t update = 0; update < updates.size(); ++update) {
    LoraPair pair = {Matrix::Zero(global.a.rows, global.a.columns), Matrix::Zero(global.b.rows, global.b.columns)};
    FEDGLM_RETURN_IF_ERROR(updates.Read(update, module + ".lora_A", pair.a.values));
    FEDGLM_RETURN_IF_ERROR(updates.Read(update, module + ".lora_B", pair.b.values));
    stack.Add(std::move(pair), static_cast<double>(updates.weight(update)));
  }
  return stack;
}

}  // namespace

void FactorStack::Add(LoraPair pair, double weight) {
  pairs_.push_back(std::move(pair));
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

absl::StatusOr<AggregationResult> Stacking::Combine(const Adapter& global, UpdateForm, const RoundUpdates& updates,
                                                    TensorMap) const {
  AggregationResult result;
  result.adapter.config = global.config;
  double norm = 0, error = 0;
  for (const auto& [name, pair] : global.modules) {
    FEDGLM_ASSIGN_OR_RETURN(const FactorStack stack, StackModule(name, pair, updates));
    TruncatedPair truncated = TruncateToRank(stack.Mean(), global.config.rank);
    norm += truncated.squared_norm;
    error += truncated.squared_error;
    result.adapter.modules[name] = std::move(truncated.pair);
  }
  result.truncation_error = norm > 0 ? std::sqrt(error / norm) : 0;
  return result;
}

}  // namespace fedglm
