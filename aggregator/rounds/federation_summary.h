// Where a federation stands, for whoever asks: who is missing, and until when.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "aggregator/options/aggregator_options.h"
#include "aggregator/store/store.h"

namespace fedglm {

struct FederationSummary {
  std::string state;                                                 // waiting, training, aggregating, paused, finished
  int64_t round = 0;                                                 // the one that is open, or the last one
  int64_t updates_received = 0, updates_expected = 0, accepted = 0;  // of the open round
  std::vector<std::string> missing;                                  // sites whose update is expected
  int64_t deadline_unix_ms = 0;                                      // of the open round; 0: none is open
  std::string adapter_sha256;
};

// `updates`: those of the open round.
FederationSummary Summarize(const AggregatorOptions& options, const std::optional<RoundRow>& open,
                            const std::vector<UpdateRow>& updates, int64_t latest_round);

}  // namespace fedglm
