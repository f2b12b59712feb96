// What the accepted updates of a round, which lie in the spool, make of its adapter.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "aggregator/options/aggregator_options.h"
#include "aggregator/rules/round_result.h"
#include "aggregator/store/artifacts.h"
#include "aggregator/store/store.h"
#include "aggregator/updates/spool.h"
#include "base/status.h"

namespace fedglm {

// A round of which no update is expected any more. Nothing of it changes until it is closed.
struct DecidedRound {
  RoundRow round;
  std::vector<UpdateRow> accepted;        // in the order of their ids
  std::shared_ptr<const Adapter> global;  // that the updates were trained from
};

// Without a lock: it takes as long as the updates are large. Thread-safe; what it is given outlives it.
class RoundCombiner {
 public:
  RoundCombiner(const AggregatorOptions& options, const Strategy& strategy, const Artifacts& states, const Spool& spool)
      : options_(options), strategy_(strategy), states_(states), spool_(spool) {}

  // BadFile if the disk lost an update that was accepted: `lost` is its id then.
  absl::StatusOr<RoundResult> Combine(const DecidedRound& decided, std::string& lost) const;

  // What the strategy remembers under this digest; nothing under "".
  absl::StatusOr<TensorMap> ReadState(const std::string& sha256) const;

 private:
  const AggregatorOptions& options_;
  const Strategy& strategy_;
  const Artifacts& states_;
  const Spool& spool_;
};

}  // namespace fedglm
