#include "aggregator/rounds/federation_summary.h"

namespace fedglm {

FederationSummary Summarize(const AggregatorOptions& options, const std::optional<RoundRow>& open,
                            const std::vector<UpdateRow>& updates, int64_t latest_round) {
  FederationSummary summary;
  if (!open) {
    summary.round = latest_round;
    summary.state = latest_round >= options.rounds ? "finished" : "waiting";
    return summary;
  }
  summary.round = open->round;
  summary.deadline_unix_ms = open->deadline_unix_ms;
  for (const UpdateRow& update : updates) {
    if (update.state == UpdateState::kExpected) summary.missing.push_back(update.site_id);
    if (update.state == UpdateState::kAccepted) ++summary.accepted;
  }
  summary.updates_expected = static_cast<int64_t>(updates.size());
  summary.updates_received = summary.updates_expected - static_cast<int64_t>(summary.missing.size());
  summary.state = summary.missing.empty() && summary.accepted >= options.min_updates ? "aggregating" : "training";
  return summary;
}

}  // namespace fedglm
