#include "aggregator/rules/round_result.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace fedglm {
namespace {

bool IsFinite(const Adapter& adapter) {
  const auto finite = [](const Matrix& m) {
    return std::all_of(m.values.begin(), m.values.end(), [](float value) { return std::isfinite(value); });
  };
  return std::all_of(adapter.modules.begin(), adapter.modules.end(),
                     [&](const auto& module) { return finite(module.second.a) && finite(module.second.b); });
}

std::vector<UpdateRemark> RemarksOnBounds(const BoundedUpdates& bounded) {
  std::vector<UpdateRemark> remarks;
  char text[160];
  for (size_t i = 0; i < bounded.size(); ++i) {
    if (bounded.scale(i) < 1) {
      std::snprintf(text, sizeof text, "its norm of %.4g is far above the median: it counts %.3g times",
                    bounded.norm(i), bounded.scale(i));
      remarks.push_back({i, "update scaled down", text});
    }
  }
  return remarks;
}

}  // namespace

absl::StatusOr<RoundResult> CombineUpdates(const Strategy& strategy, const Adapter& global, UpdateForm form,
                                           const UpdateBounds& bounds, const RoundUpdates& updates, TensorMap state) {
  RoundResult result;
  if (updates.size() == 0) {
    result.combined.adapter = global;
    return result;
  }
  FEDGLM_ASSIGN_OR_RETURN(const BoundedUpdates bounded, BoundedUpdates::Make(global, form, updates, bounds));
  result.remarks = RemarksOnBounds(bounded);
  FEDGLM_ASSIGN_OR_RETURN(result.combined, strategy.Combine(global, form, bounded, std::move(state)));
  // Every value that arrived was finite, but what came out is not. Nobody could load it, this program neither.
  if (!IsFinite(result.combined.adapter) || !std::isfinite(NormOf(result.combined.state))) {
    result.combined = {.adapter = global};
    return result;
  }
  const std::vector<size_t>& left_out = result.combined.left_out;
  for (size_t i = 0; i < updates.size(); ++i) {
    if (!std::binary_search(left_out.begin(), left_out.end(), i)) {
      result.contributors.push_back(i);
    } else {
      result.remarks.push_back({i, "update left out", std::string(strategy.name()) + ": it is far from the others"});
    }
  }
  return result;
}

}  // namespace fedglm
