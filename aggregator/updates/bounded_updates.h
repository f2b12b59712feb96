// The updates of a round within bounds, so that no site moves the adapter by more than others do, whatever it sends.
#pragma once

#include <cstdint>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/update_form.h"
#include "aggregator/updates/round_updates.h"
#include "base/status.h"

namespace fedglm {

struct UpdateBounds {
  double norm = 3;            // times the median norm of the round's updates: a longer one is scaled down; 0: none is
  double weight_share = 0.5;  // of the sum of weights: a heavier one counts as so heavy
};

// Weights of which none is more than `share` of their sum, each as near to the given one as that allows, at least 1.
// All equal where there are too few of them.
std::vector<int64_t> CapWeights(const std::vector<int64_t>& weights, double share);

class BoundedUpdates : public RoundUpdates {
 public:
  // `all` outlives it. Reads every update once, one tensor at a time. Factors, which are no change, are not scaled.
  static absl::StatusOr<BoundedUpdates> Make(const Adapter& global, UpdateForm form, const RoundUpdates& all,
                                             const UpdateBounds& bounds);

  size_t size() const override { return all_.size(); }
  int64_t weight(size_t update) const override { return weights_[update]; }
  absl::Status Read(size_t update, const std::string& tensor, std::span<float> values) const override;

  double norm(size_t update) const { return norms_[update]; }    // L2 over all trained values, as it was sent
  double scale(size_t update) const { return scales_[update]; }  // 1 or less

 private:
  explicit BoundedUpdates(const RoundUpdates& all) : all_(all) {}
  const RoundUpdates& all_;
  std::vector<int64_t> weights_;
  std::vector<double> norms_, scales_;
};

}  // namespace fedglm
