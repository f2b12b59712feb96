#include "aggregator/strategy/stacking.h"

#include <algorithm>
#include <numeric>

namespace fedglm {

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

}  // namespace fedglm
