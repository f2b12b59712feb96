// How the updates of a round become the next adapter. Updates are folded in one at a time, in the order of their ids,
// so that the result has the same bytes whatever order they arrived in. Memory holds one update and the sums, in
// double; with kStack all updates of the round, in float: the stacked factors are what the exact mean is.
#pragma once

#include <cstdint>
#include <memory>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "base/status.h"

namespace fedglm {

struct StrategyOptions {
  AggregationMode mode = AggregationMode::kFreezeA;
  double server_learning_rate = 1.0;  // of fedsgd's step; the others add the mean update as it is
};

struct AggregationResult {
  Adapter adapter;              // without provenance
  double truncation_error = 0;  // of kStack: ‖mean(BA) − truncated‖ / ‖mean(BA)‖ (Frobenius, over all modules)
};

class Strategy {
 public:
  virtual ~Strategy() = default;
  // `global` is the adapter that the updates were trained from.
  static std::unique_ptr<Strategy> Make(const Adapter& global, const StrategyOptions& options);

  // Refused if the update does not fit (CheckUpdate). `examples` is its weight: at least 1.
  virtual absl::Status Fold(const TensorMap& update, int64_t examples) = 0;
  // Failed if nothing was folded.
  virtual absl::StatusOr<AggregationResult> Finish() = 0;
};

}  // namespace fedglm
