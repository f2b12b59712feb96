#include "aggregator/strategy/geometric_median.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "aggregator/updates/distances.h"
#include "aggregator/updates/exact_mean.h"

namespace fedglm {
namespace {

constexpr int kMostIterations = 200;
constexpr double kConverged = 1e-10;
// A point on which the iteration lands would have an infinite share: distances count as at least this part of the
// median one between two updates (the paper's ν).
constexpr double kSmoothing = 1e-6;
constexpr double kShareUnit = 0x1p30;  // shares become integers, for an exact sum

void Normalize(std::vector<double>& shares) {
  double sum = 0;
  for (const double share : shares) sum += share;
  for (double& share : shares) share /= sum;
}

// 0: there is none.
double MedianOfPositive(const std::vector<std::vector<double>>& matrix) {
  std::vector<double> values;
  for (const std::vector<double>& row : matrix) {
    std::copy_if(row.begin(), row.end(), std::back_inserter(values), [](double value) { return value > 0; });
  }
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// ‖z − x_i‖² for z = Σ γ_j x_j, Σ γ = 1: Σ_j γ_j D_ij − ½ Σ_jk γ_j γ_k D_jk.
std::vector<double> DistancesToMean(const std::vector<std::vector<double>>& squared,
                                    const std::vector<double>& shares) {
  std::vector<double> to_mean(shares.size());
  double spread = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    for (size_t j = 0; j < shares.size(); ++j) to_mean[i] += shares[j] * squared[i][j];
    spread += shares[i] * to_mean[i];
  }
  for (double& distance : to_mean) distance = std::sqrt(std::max(0.0, distance - spread / 2));
  return to_mean;
}

}  // namespace

std::vector<double> WeiszfeldShares(const std::vector<std::vector<double>>& squared_distances,
                                    const std::vector<int64_t>& weights) {
  std::vector<double> shares(weights.begin(), weights.end());
  Normalize(shares);
  const std::vector<double> alphas = shares;
  const double least = kSmoothing * std::sqrt(MedianOfPositive(squared_distances));
  if (least == 0) return shares;  // all are equal
  for (int iteration = 0; iteration < kMostIterations; ++iteration) {
    const std::vector<double> before = shares, distances = DistancesToMean(squared_distances, shares);
    for (size_t i = 0; i < shares.size(); ++i) shares[i] = alphas[i] / std::max(least, distances[i]);
    Normalize(shares);
    double moved = 0;
    for (size_t i = 0; i < shares.size(); ++i) moved = std::max(moved, std::abs(shares[i] - before[i]));
    if (moved < kConverged) break;
  }
  return shares;
}

absl::StatusOr<AggregationResult> GeometricMedian::Combine(const Adapter& global, UpdateForm form,
                                                           const RoundUpdates& updates, TensorMap) const {
  FEDGLM_ASSIGN_OR_RETURN(const auto distances, SquaredDistances(global, form, updates));
  std::vector<int64_t> weights;
  for (size_t update = 0; update < updates.size(); ++update) weights.push_back(updates.weight(update));
  const std::vector<double> shares = WeiszfeldShares(distances, weights);
  std::vector<ChosenUpdates::Choice> chosen;
  for (size_t update = 0; update < shares.size(); ++update) {
    const int64_t weight = std::llround(shares[update] * kShareUnit);
    if (weight > 0) chosen.push_back({update, weight});
  }
  AggregationResult result;
  FEDGLM_ASSIGN_OR_RETURN(result.adapter, StepByMean(global, form, ChosenUpdates(updates, std::move(chosen)), 1.0));
  return result;
}

}  // namespace fedglm
