// For tests: what a strategy makes of updates.
#pragma once

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "aggregator/strategy/strategy.h"
#include "tests/aggregator/updates/memory_updates.h"

namespace fedglm {

inline AggregationResult Combined(const Strategy& strategy, const Adapter& global, UpdateForm form,
                                  const std::vector<TensorMap>& updates, const std::vector<int64_t>& weights,
                                  TensorMap state = {}) {
  absl::StatusOr<AggregationResult> result =
      strategy.Combine(global, form, MemoryUpdates(updates, weights), std::move(state));
  EXPECT_TRUE(result.ok()) << Message(result.status());
  return result.ok() ? *std::move(result) : AggregationResult{};
}

}  // namespace fedglm
