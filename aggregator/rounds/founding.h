// What a state folder is begun with, and whether it is this federation's.
#pragma once

#include <string>

#include "aggregator/options/aggregator_options.h"
#include "aggregator/rounds/publisher.h"
#include "aggregator/store/store.h"
#include "base/status.h"

namespace fedglm {

// The digest of the adapter that round 1 starts from. At the first start it is signed like every other one, and the
// federation's name, mode and strategy are written down. ConfigurationError if they are others at a later one.
absl::StatusOr<std::string> FoundFederation(const AggregatorOptions& options, const Strategy& strategy,
                                            const Publisher& publisher, Store& store);

// The adapter that a round published; 0: what round 1 starts from. Refused if there is no such round that is done.
absl::StatusOr<std::string> AdapterOfRound(Store& store, int64_t round);

}  // namespace fedglm
