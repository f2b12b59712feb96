// The geometric median of the changes (Pillutla et al. 2022, Robust Aggregation for Federated Learning,
// https://arxiv.org/abs/1912.13445): the point whose weighted sum of distances to all updates is least, found by
// Weiszfeld's iteration. While hostile sites have less than half of the weight, it stays among the others.
#pragma once

#include <cstdint>
#include <vector>

#include "aggregator/strategy/strategy.h"

namespace fedglm {

// Memory holds one tensor of every update.
class GeometricMedian : public Strategy {
 public:
  std::string_view name() const override { return "geometric-median"; }
  bool Combines(UpdateForm form) const override { return IsChange(form); }
  absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                            TensorMap state) const override;
};

// The geometric median as a convex combination Σ γ_i x_i of the points: the γ. `weights` are at least 1.
std::vector<double> WeiszfeldShares(const std::vector<std::vector<double>>& squared_distances,
                                    const std::vector<int64_t>& weights);

}  // namespace fedglm
