#include "aggregator/updates/bounded_updates.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "aggregator/updates/trained_tensors.h"

namespace fedglm {
namespace {

absl::StatusOr<std::vector<double>> NormsOf(const Adapter& global, UpdateForm form, const RoundUpdates& updates) {
  std::vector<double> squares(updates.size());
  std::vector<float> values;
  const auto add = [&](const std::string& name, const Matrix& matrix) -> absl::Status {
    values.resize(matrix.values.size());
    for (size_t update = 0; update < squares.size(); ++update) {
      FEDGLM_RETURN_IF_ERROR(updates.Read(update, name, values));
      for (const float value : values) squares[update] += static_cast<double>(value) * value;
    }
    return absl::OkStatus();
  };
  FEDGLM_RETURN_IF_ERROR(VisitTrained(global, form, add));
  for (double& square : squares) square = std::sqrt(square);
  return squares;
}

// Of those that are not zero, the lower one of two: half of the sites may be hostile. 0: all are zero.
double MedianNorm(std::vector<double> norms) {
  std::erase(norms, 0.0);
  if (norms.empty()) return 0;
  std::sort(norms.begin(), norms.end());
  return norms[(norms.size() - 1) / 2];
}

}  // namespace

std::vector<int64_t> CapWeights(const std::vector<int64_t>& weights, double share) {
  if (share * static_cast<double>(weights.size()) <= 1) {
    return std::vector<int64_t>(weights.size(), *std::min_element(weights.begin(), weights.end()));
  }
  std::vector<int64_t> sorted = weights;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  auto rest = static_cast<double>(std::accumulate(sorted.begin(), sorted.end(), int64_t{0}));
  // With the heaviest k at the cap c, and `rest` the sum of the others: c = share (k c + rest).
  double cap = static_cast<double>(sorted.front());
  for (size_t k = 0; k < sorted.size() && share * static_cast<double>(k) < 1; ++k) {
    cap = share * rest / (1 - share * static_cast<double>(k));
    if (static_cast<double>(sorted[k]) <= cap) break;
    rest -= static_cast<double>(sorted[k]);
  }
  std::vector<int64_t> capped = weights;
  for (int64_t& weight : capped) weight = std::clamp<int64_t>(static_cast<int64_t>(cap), 1, weight);
  return capped;
}

absl::StatusOr<BoundedUpdates> BoundedUpdates::Make(const Adapter& global, UpdateForm form, const RoundUpdates& all,
                                                    const UpdateBounds& bounds) {
  BoundedUpdates bounded(all);
  std::vector<int64_t> weights;
  for (size_t update = 0; update < all.size(); ++update) weights.push_back(all.weight(update));
  bounded.weights_ = CapWeights(weights, bounds.weight_share);
  FEDGLM_ASSIGN_OR_RETURN(bounded.norms_, NormsOf(global, form, all));
  bounded.scales_.assign(all.size(), 1.0);
  if (bounds.norm == 0 || form == UpdateForm::kFactors) return bounded;
  const double longest = bounds.norm * MedianNorm(bounded.norms_);
  for (size_t update = 0; update < all.size(); ++update) {
    if (bounded.norms_[update] > longest) bounded.scales_[update] = longest / bounded.norms_[update];
  }
  return bounded;
}

absl::Status BoundedUpdates::Read(size_t update, const std::string& tensor, std::span<float> values) const {
  FEDGLM_RETURN_IF_ERROR(all_.Read(update, tensor, values));
  if (scales_[update] == 1) return absl::OkStatus();
  for (float& value : values) value = static_cast<float>(value * scales_[update]);
  return absl::OkStatus();
}

}  // namespace fedglm
