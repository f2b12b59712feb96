// The mean of products BA, exactly: factors are stacked side by side, and truncation.h brings them back to the rank.
// (The idea of FLoRA, Wang et al. 2024, https://arxiv.org/abs/2409.05976.) Memory holds one module's factors
// of every update: the stacked factors are what the exact mean is.
#pragma once

#include <cstdint>
#include <vector>

#include "adapter/adapter.h"
#include "aggregator/strategy/strategy.h"

namespace fedglm {

// mean = b a exactly: b is [outputs][sum of ranks], a is [sum of ranks][inputs].
struct StackedFactors {
  Matrix a, b;
};

// sum_k (weight_k / sum of weights) B_k A_k as one pair of stacked factors.
class FactorStack {
 public:
  void Add(LoraPair pair, double weight);
  StackedFactors Mean() const;

 private:
  std::vector<LoraPair> pairs_;
  std::vector<double> weights_;
};

class Stacking : public Strategy {
 public:
  std::string_view name() const override { return "stacking"; }
  bool Combines(UpdateForm form) const override { return form == UpdateForm::kFactors; }
  absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                            TensorMap state) const override;
};

}  // namespace fedglm
