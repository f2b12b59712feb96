#include "aggregator/strategy/multi_krum.h"

#include <algorithm>
#include <numeric>

#include "aggregator/strategy/share.h"
#include "aggregator/updates/distances.h"
#include "aggregator/updates/exact_mean.h"

namespace fedglm {

std::vector<double> KrumScores(const std::vector<std::vector<double>>& squared_distances, size_t neighbours) {
  std::vector<double> scores;
  for (size_t i = 0; i < squared_distances.size(); ++i) {
    std::vector<double> others = squared_distances[i];
    others.erase(others.begin() + static_cast<ptrdiff_t>(i));
    std::sort(others.begin(), others.end());
    others.resize(std::min(neighbours, others.size()));
    scores.push_back(std::accumulate(others.begin(), others.end(), 0.0));
  }
  return scores;
}

absl::Status MultiKrum::Visit(const NumberVisitor& visit) {
  return visit("aggregation.hostile_share", hostile_share_, 0, 0.49);
}

size_t MultiKrum::HostileOf(size_t updates) const {
  return updates < 3 ? 0 : std::min(CountOfShare(hostile_share_, updates), (updates - 3) / 2);
}

absl::StatusOr<AggregationResult> MultiKrum::Combine(const Adapter& global, UpdateForm form,
                                                     const RoundUpdates& updates, TensorMap) const {
  const size_t count = updates.size(), hostile = HostileOf(count);
  AggregationResult result;
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  if (hostile > 0) {
    FEDGLM_ASSIGN_OR_RETURN(const auto distances, SquaredDistances(global, form, updates));
    const std::vector<double> scores = KrumScores(distances, count - hostile - 2);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
    const auto first_left_out = order.end() - static_cast<ptrdiff_t>(hostile);
    result.left_out.assign(first_left_out, order.end());
    std::sort(result.left_out.begin(), result.left_out.end());
    order.erase(first_left_out, order.end());
  }
  std::vector<ChosenUpdates::Choice> chosen;
  for (const size_t update : order) chosen.push_back({update, updates.weight(update)});
  FEDGLM_ASSIGN_OR_RETURN(result.adapter, StepByMean(global, form, ChosenUpdates(updates, std::move(chosen)), 1.0));
  return result;
}

}  // namespace fedglm
