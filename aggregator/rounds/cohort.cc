#include "aggregator/rounds/cohort.h"

#include <algorithm>
#include <set>

#include "aggregator/rules/round_verdict.h"
#include "aggregator/rules/update_claim.h"
#include "base/log.h"

namespace fedglm {

absl::StatusOr<Cohort> PresentSites(Store& store, const Presence& presence, const std::string& federation,
                                    const RoundRow& round, const BeganAt& since, int64_t least) {
  // A site whose call waited when the last round began has not called since, but has sent its update.
  std::set<std::string> took_part;
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<UpdateRow> updates, store.UpdatesOf(round.round - 1));
  for (const UpdateRow& update : updates) {
    if (update.state == UpdateState::kAccepted) took_part.insert(update.site_id);
  }
  std::vector<std::string> there;
  store.VisitNodes([&](const NodeRow& node) {
    // By either clock: after a restart only the store knows, and after somebody set the clock back only the other one.
    const SitePresence* const site = presence.Find(node.site_id);
    const bool is_there = node.last_seen_unix_ms >= since.unix_ms ||
                          (site != nullptr && site->asked && *site->asked >= since.steady) ||
                          took_part.contains(node.site_id);
    if (is_there && !node.revoked && node.training_records > 0) there.push_back(node.site_id);
  });
  if (std::ssize(there) < least) return Cohort();
  Cohort cohort;
  for (const std::string& site_id : there) {
    cohort.emplace_back(UpdateIdOf(federation, round.round, site_id, round.adapter_in), site_id);
  }
  return cohort;
}

absl::StatusOr<Votes> CountVotes(Store& store, const Presence& presence, int64_t round,
                                 const std::string& adapter_sha256) {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<UpdateRow> updates, store.UpdatesOf(round));
  Votes votes;
  for (const UpdateRow& update : updates) {
    if (update.state != UpdateState::kAccepted) continue;
    ++votes.makers;
    const SitePresence* const site = presence.Find(update.site_id);
    if (site == nullptr || site->position.declined_sha256 != adapter_sha256) continue;
    const std::optional<NodeRow> node = store.FindNode(update.site_id);
    if (!node || node->revoked) continue;
    ++votes.declined;
    votes.names += (votes.names.empty() ? "" : ", ") + update.site_id;
  }
  return votes;
}

absl::StatusOr<int64_t> ForgiveOutage(Store& store, const RoundRow& open, int64_t now_unix_ms) {
  // Sites ask for work, or say that they train, several times a minute: the last time is when this aggregator was last
  // there.
  constexpr int64_t kCadenceMs = 120000;
  int64_t last_alive = open.started_unix_ms;
  store.VisitNodes([&](const NodeRow& node) { last_alive = std::max(last_alive, node.last_seen_unix_ms); });
  const int64_t deadline = DeadlineAfterOutage(open.deadline_unix_ms, last_alive, now_unix_ms, kCadenceMs);
  if (deadline == open.deadline_unix_ms) return deadline;
  LogInfo("nobody could send for " + std::to_string((deadline - open.deadline_unix_ms) / 1000) +
          " s: the round's deadline is so much later");
  FEDGLM_RETURN_IF_ERROR(store.SetDeadline(open.round, deadline));
  return deadline;
}

}  // namespace fedglm
