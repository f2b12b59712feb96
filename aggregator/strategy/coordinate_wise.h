// The median and the trimmed mean of the changes, each value for itself (Yin et al. 2018, Byzantine-Robust Distributed
// Learning, https://arxiv.org/abs/1803.01498). Every site counts once, whatever its weight. Memory holds one tensor of
// every update.
#pragma once

#include <cstddef>

#include "aggregator/strategy/strategy.h"

namespace fedglm {

// While fewer than half of the sites are hostile, each value lies between honest ones. Of an even number it is the mean
// of the two in the middle.
class Median : public Strategy {
 public:
  std::string_view name() const override { return "median"; }
  bool Combines(UpdateForm form) const override { return IsChange(form); }
  absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                            TensorMap state) const override;
};

// The mean without the highest and the lowest.
class TrimmedMean : public Strategy {
 public:
  std::string_view name() const override { return "trimmed-mean"; }
  bool Combines(UpdateForm form) const override { return IsChange(form); }
  absl::Status Visit(const NumberVisitor& visit) override;
  absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                            TensorMap state) const override;

  // How many are left out at each end: at least the share, but never all.
  size_t TrimmedOf(size_t updates) const;

 private:
  double share_ = 0.2;
};

}  // namespace fedglm
