// Who is in a round, and who of them is still there.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/rules/presence.h"
#include "aggregator/store/store.h"
#include "base/status.h"

namespace fedglm {

using Cohort = std::vector<std::pair<std::string, std::string>>;  // (update id, site id)

// When the round before began: by the clock on the wall, which a restart survives and people set, and by one that only
// goes forward.
struct BeganAt {
  int64_t unix_ms = 0;
  std::chrono::steady_clock::time_point steady;
};

// Sites that have records and asked for work since then, or took part in the round before. Nobody, if these are fewer
// than `least`.
absl::StatusOr<Cohort> PresentSites(Store& store, const Presence& presence, const std::string& federation,
                                    const RoundRow& round, const BeganAt& since, int64_t least);

// Of the sites that made a round's adapter, those that decline it.
struct Votes {
  int64_t makers = 0, declined = 0;
  std::string names;  // of those that do
};
absl::StatusOr<Votes> CountVotes(Store& store, const Presence& presence, int64_t round,
                                 const std::string& adapter_sha256);

// The deadline of a round that was open when the aggregator ended: later by the time in which it was not there. It is
// stored.
absl::StatusOr<int64_t> ForgiveOutage(Store& store, const RoundRow& open, int64_t now_unix_ms);

}  // namespace fedglm
