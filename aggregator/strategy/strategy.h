// How the updates of a round become the next adapter. (What travels, and so what is combined, is UpdateForm's.) A
// strategy is a file of this folder and a line of the table in strategy.cc: its name, the forms that it combines, its
// hyperparameters, and what it remembers from round to round.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "base/status.h"

namespace fedglm {

struct AggregationResult {
  Adapter adapter;              // without provenance
  double truncation_error = 0;  // of stacking: ‖mean(BA) − truncated‖ / ‖mean(BA)‖ (Frobenius, over all modules)
  TensorMap state;              // for the next round's Begin; empty: the strategy remembers nothing
};

// One round. Updates are folded in one at a time, in the order of their ids, so that the result has the same bytes
// whatever order they arrived in. Memory holds one update, and what the strategy's header says. Not thread-safe.
class Aggregation {
 public:
  virtual ~Aggregation() = default;
  // Refused if the update does not fit (CheckUpdate). `examples` is its weight: at least 1.
  virtual absl::Status Fold(const TensorMap& update, int64_t examples) = 0;
  // Failed if nothing was folded. Called once after the last update.
  virtual absl::StatusOr<AggregationResult> Finish() = 0;
};

// Called with a hyperparameter's key in the aggregator's configuration, the place that holds its value (before: its
// default), and its bounds.
using NumberVisitor = std::function<absl::Status(std::string_view key, double& value, double minimum, double maximum)>;

// A strategy with its hyperparameters. Thread-safe once it is configured: what it remembers is given to Begin.
class Strategy {
 public:
  virtual ~Strategy() = default;
  virtual std::string_view name() const = 0;         // `aggregation.strategy`; never renamed: the store keeps it
  virtual bool Combines(UpdateForm form) const = 0;  // whether it knows what to do with such updates
  virtual absl::Status Visit(const NumberVisitor&) { return absl::OkStatus(); }  // each hyperparameter once
  // `global` is the adapter that the updates were trained from. `state` is what the last round that had an update left;
  // empty in the first one. BadFile if it is not this strategy's for this adapter. The round may outlive the strategy.
  virtual absl::StatusOr<std::unique_ptr<Aggregation>> Begin(const Adapter& global, UpdateForm form,
                                                             TensorMap state) const = 0;
};

absl::StatusOr<std::unique_ptr<Strategy>> MakeStrategy(std::string_view name);  // UsageError that names them all
// The one that a federation of this form has if it names none.
std::unique_ptr<Strategy> DefaultStrategy(UpdateForm form);

}  // namespace fedglm
