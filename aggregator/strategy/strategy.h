// How the updates of a round become the next adapter. (What travels, and so what is combined, is UpdateForm's.) A
// strategy is a file of this folder and a line of the table in strategy.cc: its name, the forms that it combines, its
// hyperparameters, and what it remembers from round to round.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "aggregator/updates/round_updates.h"
#include "base/status.h"

namespace fedglm {

struct AggregationResult {
  Adapter adapter;              // without provenance
  double truncation_error = 0;  // of stacking: ‖mean(BA) − truncated‖ / ‖mean(BA)‖ (Frobenius, over all modules)
  TensorMap state;              // for the next round's Combine; empty: the strategy remembers nothing
  std::vector<size_t> left_out;  // the updates that it found too far from the others, in their order
};

// Whether what travels is a change of the trained factors, so that a mean of it can be added to them.
bool IsChange(UpdateForm form);

// Called with a hyperparameter's key in the aggregator's configuration, the place that holds its value (before: its
// default), and its bounds.
using NumberVisitor = std::function<absl::Status(std::string_view key, double& value, double minimum, double maximum)>;

// A strategy with its hyperparameters. Thread-safe once it is configured: what it remembers is given to Combine.
class Strategy {
 public:
  virtual ~Strategy() = default;
  virtual std::string_view name() const = 0;         // `aggregation.strategy`; never renamed: the store keeps it
  virtual bool Combines(UpdateForm form) const = 0;  // whether it knows what to do with such updates
  virtual absl::Status Visit(const NumberVisitor&) { return absl::OkStatus(); }  // each hyperparameter once
  // The next adapter. `updates`, at least one, were trained from `global` and fit it (CheckUpdate). `state` is what the
  // last round that had an update left; empty in the first one. BadFile if it is not this strategy's for this adapter;
  // else errors of reading. Memory holds the global adapter twice, and what the strategy's header says.
  virtual absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                                    TensorMap state) const = 0;
};

absl::StatusOr<std::unique_ptr<Strategy>> MakeStrategy(std::string_view name);  // UsageError that names them all
// The one that a federation of this form has if it names none.
std::unique_ptr<Strategy> DefaultStrategy(UpdateForm form);

}  // namespace fedglm
