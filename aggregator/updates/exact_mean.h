// Sums and means of updates as integers: the same whatever the order, the grouping or the machine, because integers add
// up to the same wherever they are added.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/update_form.h"
#include "aggregator/updates/round_updates.h"
#include "base/status.h"

namespace fedglm {

// What an update may hold. Beyond it, no trained adapter has ever been; within it, no sum of 2^17 sites overflows.
inline constexpr double kLargestValue = 0x1p30;
inline constexpr int64_t kLargestWeight = int64_t{1} << 31;

// Σ weight · value for each value of a tensor, in fixed point: multiples of 2^-kFractionBits, so that each value is off
// by at most 2^-49 before it is added, and nothing after. 16 bytes a value. Not thread-safe.
class ExactSum {
 public:
  static constexpr int kFractionBits = 48;

  explicit ExactSum(size_t values) : sums_(values) {}
  void Add(std::span<const float> values, int64_t weight);  // within the limits above
  size_t size() const { return sums_.size(); }
  double Mean(size_t value) const { return static_cast<double>(sums_[value]) / static_cast<double>(weight_) * 0x1p-48; }

 private:
  __extension__ typedef __int128 Integer;
  std::vector<Integer> sums_;
  int64_t weight_ = 0;
};

// The mean of a tensor over the updates, by their weights.
absl::StatusOr<ExactSum> SumOf(const RoundUpdates& updates, const std::string& tensor, size_t values);

// global + step · mean.
absl::StatusOr<Adapter> StepByMean(const Adapter& global, UpdateForm form, const RoundUpdates& updates, double step);

}  // namespace fedglm
