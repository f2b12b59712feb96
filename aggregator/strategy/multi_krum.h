// Multi-Krum (Blanchard et al. 2017, Machine Learning with Adversaries, https://arxiv.org/abs/1703.02757): with f of n
// sites taken to be hostile, an update's score is the sum of its squared distances to its n − f − 2 nearest; the mean,
// by weights, is taken of the n − f with the lowest scores.
#pragma once

#include <cstddef>
#include <vector>

#include "aggregator/strategy/strategy.h"

namespace fedglm {

// f is the share that `aggregation.hostile_share` says, rounded up, and at most (n − 3) / 2, for more of which the rule
// promises nothing: below five sites it is the mean. Memory holds one tensor of every update.
class MultiKrum : public Strategy {
 public:
  std::string_view name() const override { return "multi-krum"; }
  bool Combines(UpdateForm form) const override { return IsChange(form); }
  absl::Status Visit(const NumberVisitor& visit) override;
  absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                            TensorMap state) const override;

  size_t HostileOf(size_t updates) const;  // f

 private:
  double hostile_share_ = 0.2;
};

// Of each update the sum of the squared distances to the nearest `neighbours` others.
std::vector<double> KrumScores(const std::vector<std::vector<double>>& squared_distances, size_t neighbours);

}  // namespace fedglm
