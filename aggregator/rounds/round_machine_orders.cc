// What administrators order, and what the sites together do: rounds that end otherwise than by themselves.
#include <utility>

#include "aggregator/rounds/founding.h"
#include "aggregator/rounds/round_machine.h"
#include "base/log.h"

namespace fedglm {

// What was rolled back to was made by no site, and is never taken back.
absl::StatusOr<bool> RoundMachine::TakeBackRejected() {
  if (!presence_.AnyDeclines(latest_adapter_) || not_taken_back_ == latest_adapter_) return false;
  FEDGLM_ASSIGN_OR_RETURN(const Votes votes, CountVotes(store_, presence_, latest_, latest_adapter_));
  if (!IsRejected(votes.declined, votes.makers, options_.reject_share)) return false;
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<RoundRow> rejected, store_.RoundsAfter(latest_ - 1, 1));
  if (rejected.empty()) return false;
  const std::string what = "the adapter of round " + std::to_string(latest_) + ": " + std::to_string(votes.declined) +
                           " of the " + std::to_string(votes.makers) + " sites that made it decline it: " + votes.names;
  const absl::Status status = RollBackTo(rejected.front().adapter_in, what, "aggregator");
  if (status.ok()) return true;
  not_taken_back_ = latest_adapter_;  // said once: the rounds go on
  LogError("round " + std::to_string(latest_) + " cannot be taken back: " + Message(status));
  return false;
}

absl::Status RoundMachine::RollBackTo(const std::string& adapter_sha256, const std::string& what,
                                      const std::string& actor) {
  const int64_t now = UnixMilliseconds(clock_.Now());
  const bool is_new = !open_;
  RoundRow round = is_new ? NextRound(now) : *open_;
  round.state_out = "";  // what led to the adapter that is taken back
  round.ended_unix_ms = now;
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, publisher_.Read(adapter_sha256));
  FEDGLM_ASSIGN_OR_RETURN(round.adapter_out, publisher_.Publish(adapter, base_sha256_, round.round, {}));
  const std::string name = "round " + std::to_string(round.round);
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    if (is_new) FEDGLM_RETURN_IF_ERROR(store_.OpenRound(round, {}));
    FEDGLM_RETURN_IF_ERROR(store_.RefuseUpdates(round.round, "", "the round was rolled back"));
    FEDGLM_RETURN_IF_ERROR(store_.CloseRound(round));
    return store_.AddAudit(round.ended_unix_ms, actor, "rolled back", name, what);
  }));
  LogWarning(name + " rolls back " + what);
  Adopt(round, std::move(adapter));
  return absl::OkStatus();
}

absl::Status RoundMachine::RollBack(int64_t round, const std::string& reason, const std::string& actor) {
  MutexLock lock(mutex_);
  FEDGLM_ASSIGN_OR_RETURN(const std::string adapter, AdapterOfRound(store_, round));
  return RollBackTo(adapter, "to the adapter of round " + std::to_string(round) + (reason.empty() ? "" : ": ") + reason,
                    actor);
}

absl::Status RoundMachine::CloseNow(const std::string& reason, const std::string& actor) {
  MutexLock lock(mutex_);
  if (!open_) return RefusedError("no round is open");
  const int64_t round = open_->round;
  const UpdateCounts updates = store_.CountUpdates();
  if (updates.accepted < options_.min_updates) {
    return RefusedError("round " + std::to_string(round) + " has " + std::to_string(updates.accepted) +
                        " updates, and is not closed with fewer than " + std::to_string(options_.min_updates));
  }
  const int64_t now = UnixMilliseconds(clock_.Now());
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.SetDeadline(round, now));  // also after a restart
    return store_.AddAudit(now, actor, "round closed by order", "round " + std::to_string(round), reason);
  }));
  open_->deadline_unix_ms = now;
  deadline_ = clock_.Monotonic();
  why_late_ = "late: an administrator closed the round";
  Changed();
  return absl::OkStatus();
}

absl::Status RoundMachine::Abort(const std::string& reason, const std::string& actor) {
  MutexLock lock(mutex_);
  if (!open_) return RefusedError("no round is open");
  const int64_t round = open_->round;
  const std::string name = "round " + std::to_string(round);
  const int64_t now = UnixMilliseconds(clock_.Now()), deadline = now + options_.round_timeout_seconds * 1000;
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.RefuseUpdates(round, "", "an administrator aborted the round"));
    FEDGLM_RETURN_IF_ERROR(store_.SetDeadline(round, deadline));
    return store_.AddAudit(now, actor, "round aborted", name, reason);
  }));
  ++aborts_;
  spool_.RemoveAllBut({});
  open_->deadline_unix_ms = deadline;
  deadline_ = clock_.Monotonic() + std::chrono::seconds(options_.round_timeout_seconds);
  return BeginAgain("an administrator aborted it");
}

absl::Status RoundMachine::Skip(const std::string& site_id, const std::string& reason, const std::string& actor) {
  MutexLock lock(mutex_);
  if (!open_) return RefusedError("no round is open");
  const int64_t round = open_->round;
  const std::string name = "round " + std::to_string(round);
  const std::string update_id = UpdateIdOf(options_.federation, round, site_id, open_->adapter_in);
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<UpdateRow> update, store_.FindUpdate(update_id));
  if (!update || update->state != UpdateState::kExpected) {
    return RefusedError(name + " does not wait for site '" + site_id + "'");
  }
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.RefuseUpdates(round, site_id, "an administrator did not wait for it"));
    return store_.AddAudit(UnixMilliseconds(clock_.Now()), actor, "site skipped", site_id,
                           name + (reason.empty() ? "" : ": ") + reason);
  }));
  spool_.Remove(update_id);
  Changed();
  return absl::OkStatus();
}

absl::Status RoundMachine::SetPaused(bool paused, const std::string& reason, const std::string& actor) {
  MutexLock lock(mutex_);
  if (paused == paused_)
    return RefusedError(paused ? "the federation is paused already" : "the federation is not paused");
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.SetSetting(kPausedSetting, paused ? "1" : ""));
    return store_.AddAudit(UnixMilliseconds(clock_.Now()), actor, paused ? "paused" : "resumed", options_.federation,
                           reason);
  }));
  paused_ = paused;
  LogInfo(paused ? "paused: no round is opened" : "resumed");
  NewsForAll();
  return absl::OkStatus();
}

}  // namespace fedglm
