#include "aggregator/rounds/round_combiner.h"

#include "aggregator/updates/mapped_updates.h"
#include "base/log.h"

namespace fedglm {

absl::StatusOr<TensorMap> RoundCombiner::ReadState(const std::string& sha256) const {
  if (sha256.empty()) return TensorMap();
  const absl::StatusOr<std::string> bytes = states_.Read(sha256);
  absl::StatusOr<TensorMap> state = bytes.ok() ? ParseTensors(*bytes) : bytes.status();
  if (state.ok()) return state;
  return FailedError("what the strategy remembers (strategy/" + sha256 + " in the state folder) cannot be read: " +
                     Message(state.status()) + "; restore the folder from a copy");
}

absl::StatusOr<RoundResult> RoundCombiner::Combine(const DecidedRound& decided, std::string& lost) const {
  MappedUpdates updates;
  for (const UpdateRow& update : decided.accepted) {
    const absl::Status mapped = updates.Add(spool_.Path(update.update_id), update.sha256, update.examples);
    if (ExitCodeOf(mapped) == ExitCode::kBadInputFile) lost = update.update_id;
    FEDGLM_RETURN_IF_ERROR(Annotate(mapped, "the update of " + update.site_id));
  }
  FEDGLM_ASSIGN_OR_RETURN(TensorMap state, ReadState(decided.round.state_in));
  FEDGLM_ASSIGN_OR_RETURN(RoundResult result, CombineUpdates(strategy_, *decided.global, options_.mode, options_.bounds,
                                                             updates, std::move(state)));
  const std::string round = "round " + std::to_string(decided.round.round);
  for (const UpdateRemark& remark : result.remarks) {
    LogWarning(round + ": " + decided.accepted[remark.update].site_id + ": " + remark.action + ": " + remark.detail);
  }
  if (result.contributors.empty()) {
    LogWarning(round + (updates.size() == 0 ? " had no acceptable update" : "'s updates add up to what is not finite") +
               ": the adapter stays as it is");
  }
  return result;
}

}  // namespace fedglm
