#include "aggregator/strategy/coordinate_wise.h"

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "aggregator/strategy/share.h"
#include "aggregator/updates/trained_tensors.h"

namespace fedglm {
namespace {

// The global adapter, to each trained value of which `center` of the updates' values is added. It gets one value of
// each update, and may sort them.
absl::StatusOr<AggregationResult> StepByCenter(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                               const std::function<double(std::span<float> values)>& center) {
  const auto step = [&](const std::string& name, Matrix& matrix) -> absl::Status {
    FEDGLM_ASSIGN_OR_RETURN(const auto all, ReadFromAll(updates, name, matrix.values.size()));
    std::vector<float> values(all.size());
    for (size_t i = 0; i < matrix.values.size(); ++i) {
      for (size_t update = 0; update < all.size(); ++update) values[update] = all[update][i];
      matrix.values[i] = static_cast<float>(matrix.values[i] + center(values));
    }
    return absl::OkStatus();
  };
  AggregationResult result;
  FEDGLM_ASSIGN_OR_RETURN(result.adapter, ChangeTrained(global, form, step));
  return result;
}

}  // namespace

absl::StatusOr<AggregationResult> Median::Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                                  TensorMap) const {
  return StepByCenter(global, form, updates, [](std::span<float> values) {
    const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    if (values.size() % 2 == 1) return static_cast<double>(*middle);
    return (static_cast<double>(*middle) + *std::max_element(values.begin(), middle)) / 2;
  });
}

absl::Status TrimmedMean::Visit(const NumberVisitor& visit) { return visit("aggregation.trim", share_, 0, 0.49); }

size_t TrimmedMean::TrimmedOf(size_t updates) const {
  return std::min(CountOfShare(share_, updates), (updates - 1) / 2);
}

absl::StatusOr<AggregationResult> TrimmedMean::Combine(const Adapter& global, UpdateForm form,
                                                       const RoundUpdates& updates, TensorMap) const {
  const size_t trimmed = TrimmedOf(updates.size()), kept = updates.size() - 2 * trimmed;
  return StepByCenter(global, form, updates, [&](std::span<float> values) {
    std::sort(values.begin(), values.end());  // the order of the sum, too
    double sum = 0;
    for (const float value : values.subspan(trimmed, kept)) sum += value;
    return sum / static_cast<double>(kept);
  });
}

}  // namespace fedglm
