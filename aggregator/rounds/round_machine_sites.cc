// What sites ask of the rounds, and say.
#include <algorithm>
#include <utility>

#include "aggregator/rounds/examination.h"
#include "aggregator/rounds/round_machine.h"
#include "base/log.h"

namespace fedglm {

using std::chrono::seconds;

absl::StatusOr<Work> RoundMachine::WorkFor(const std::string& site_id, const SitePosition& position) {
  FederationPosition federation = {latest_, latest_adapter_};
  federation.finished = !open_ && latest_ >= options_.rounds;
  std::string update_id;
  if (open_) {
    update_id = UpdateIdOf(options_.federation, open_->round, site_id, open_->adapter_in);
    FEDGLM_ASSIGN_OR_RETURN(const std::optional<UpdateRow> update, store_.FindUpdate(update_id));
    federation.expected = update && update->state == UpdateState::kExpected;
  }
  switch (StepFor(position, federation)) {
    case NextStep::kInstall:
      return Work(InstallWork{latest_, latest_adapter_});
    case NextStep::kTrain:
      return Work(TrainWork{open_->round, open_->adapter_in, update_id});
    case NextStep::kFinished:
      return Work(FinishedWork{});
    case NextStep::kWait:
      break;
  }
  return Work(WaitWork{});
}

uint64_t RoundMachine::AwaitWork(const std::string& site_id, const SitePosition& position,
                                 std::chrono::milliseconds max_wait, Told told) {
  const auto until = std::chrono::steady_clock::now() + max_wait;
  WaitingSites::Answers answers;
  uint64_t call = 0;
  {
    MutexLock lock(mutex_);
    call = ++last_call_;
    const absl::Status admitted = Admit(site_id, position);
    absl::StatusOr<Work> work = admitted.ok() ? WorkFor(site_id, position) : admitted;
    if (!admitted.ok()) {  // another node of the site may wait, and goes on
      answers.Add(std::move(told), std::move(work));
    } else if (!work.ok() || !std::holds_alternative<WaitWork>(*work) || stopping_ || max_wait.count() <= 0) {
      waiting_.EndAllOf(site_id, answers);
      answers.Add(std::move(told), std::move(work));
    } else {
      waiting_.Add(site_id, {position, until, call, std::move(told)}, answers);
    }
    // One more site may be what the next round was waiting for, and one may vote against the adapter.
    if (admitted.ok() && (!open_ || !position.declined_sha256.empty())) Changed();
  }
  answers.Tell();
  return call;
}

absl::Status RoundMachine::Admit(const std::string& site_id, const SitePosition& position) {
  const int64_t now = UnixMilliseconds(clock_.Now());
  switch (instances_.Ask(site_id, position.instance, clock_.Monotonic(), seconds(options_.silence_seconds))) {
    case Instances::Verdict::kRefused:
      return RefusedError("another node is there with the identity of site " + site_id +
                          ": stop one of them, or enrol it as another site");
    case Instances::Verdict::kOtherRefused:
      LogWarning(site_id + ": two nodes have its identity; the one that came later is refused");
      FEDGLM_RETURN_IF_ERROR(store_.AddAudit(now, "aggregator", "two nodes with one identity", site_id,
                                             "the one that came later is refused"));
      break;
    case Instances::Verdict::kFine:
      break;
  }
  store_.TouchNode(site_id, now, position.training_records, position.installed_round);
  if (const auto news = presence_.Asked(site_id, position, clock_.Monotonic())) {
    LogWarning(site_id + ": " + news->action + ": " + news->detail);
    return store_.AddAudit(now, "site:" + site_id, news->action, site_id, news->detail);
  }
  return absl::OkStatus();
}

void RoundMachine::StopWaiting(const std::string& site_id, uint64_t call) {
  WaitingSites::Answers answers;
  {
    MutexLock lock(mutex_);
    waiting_.End(site_id, call, answers);
  }
  answers.Tell();
}

absl::StatusOr<UpdateRow> RoundMachine::CheckClaim(const std::string& site_id, const UpdateClaim& claim) {
  // Under the lock: between the two looks a round could be closed, and the site would not hear that its update is late.
  MutexLock lock(mutex_);
  presence_.Heard(site_id, clock_.Monotonic(), /*progress=*/true);
  instances_.Heard(site_id, clock_.Monotonic());
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<UpdateRow> update, store_.FindUpdate(claim.update_id));
  if (!update || update->site_id != site_id) return RefusedError("no such update is expected of this site");
  if (update->state != UpdateState::kExpected) return *update;
  if (!open_ || update->round != open_->round) {
    return RefusedError("round " + std::to_string(update->round) + " is closed");
  }
  const std::string fault = FaultOf(claim, {base_sha256_, open_->adapter_in, std::string(UpdateFormName(options_.mode)),
                                            open_->round, max_update_bytes_});
  if (fault.empty()) return *update;
  UpdateRow refused = *update;
  refused.state = UpdateState::kRefused;
  refused.reason = ShortReason(fault);
  FEDGLM_RETURN_IF_ERROR(Decide(refused));
  return refused;
}

absl::Status RoundMachine::Decide(const UpdateRow& update) {
  FEDGLM_RETURN_IF_ERROR(store_.DecideUpdate(update, UnixMilliseconds(clock_.Now())));
  if (update.state == UpdateState::kRefused) {
    spool_.Remove(update.update_id);
    LogWarning("the update of " + update.site_id + " is refused: " + update.reason);
  } else {
    LogInfo("round " + std::to_string(update.round) + ": update of " + update.site_id + ", " +
            std::to_string(update.bytes) + " bytes, " + std::to_string(update.examples) + " examples");
  }
  Changed();
  return absl::OkStatus();
}

absl::StatusOr<UpdateRow> RoundMachine::DecideUpdate(const std::string& site_id, const UpdateClaim& claim) {
  MutexLock one_at_a_time(deciding_);
  const uint64_t aborts = Aborts();
  FEDGLM_ASSIGN_OR_RETURN(UpdateRow update, CheckClaim(site_id, claim));
  if (update.state == UpdateState::kRefused) spool_.Remove(claim.update_id);  // late, and part of it came later still
  if (update.state != UpdateState::kExpected) return update;
  FEDGLM_RETURN_IF_ERROR(Examine(claim, update));

  MutexLock lock(mutex_);
  // The round may have been closed while the update was looked at.
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<UpdateRow> now, store_.FindUpdate(claim.update_id));
  if (now && now->state != UpdateState::kExpected) return *now;
  if (aborts_ != aborts) return absl::AbortedError("the round began again meanwhile: send the update again");
  FEDGLM_RETURN_IF_ERROR(Decide(update));
  return update;
}

uint64_t RoundMachine::Aborts() {
  MutexLock lock(mutex_);
  return aborts_;
}

absl::Status RoundMachine::Examine(const UpdateClaim& claim, UpdateRow& update) {
  FEDGLM_ASSIGN_OR_RETURN(UpdateFile file, UpdateFile::Open(spool_.Path(claim.update_id)));
  FEDGLM_ASSIGN_OR_RETURN(const std::string sha256, file.Sha256());
  if (sha256 != claim.sha256) {
    spool_.Remove(claim.update_id);
    return absl::AbortedError("the bytes that arrived are not those of the digest: send them again");
  }
  std::shared_ptr<const Adapter> global;
  {
    MutexLock lock(mutex_);
    global = global_;
  }
  FEDGLM_ASSIGN_OR_RETURN(update, fedglm::Examine(std::move(update), claim, file, *global, options_.mode));
  return absl::OkStatus();
}

absl::Status RoundMachine::ReportEvaluation(const std::string& site_id, int64_t round, const SiteLoss& report) {
  MutexLock lock(mutex_);
  return reports_.Evaluation(site_id, round, latest_, report);
}

absl::Status RoundMachine::ReportFailedEvaluation(const std::string& site_id, int64_t round) {
  MutexLock lock(mutex_);
  return reports_.FailedEvaluation(site_id, round, latest_);
}

absl::Status RoundMachine::ReportRejection(const std::string& site_id, int64_t round, const std::string& adapter_sha256,
                                           const std::string& reason) {
  MutexLock lock(mutex_);
  return reports_.Rejection(site_id, round, latest_, adapter_sha256, reason);
}

absl::Status RoundMachine::Revoke(const std::string& site_id, const std::string& reason, const std::string& actor) {
  MutexLock lock(mutex_);
  const int64_t round = open_ ? open_->round : 0;
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.RevokeNode(site_id));
    FEDGLM_RETURN_IF_ERROR(store_.AddAudit(UnixMilliseconds(clock_.Now()), actor, "node revoked", site_id, reason));
    // The round neither waits for it nor counts it.
    return round > 0 ? store_.RefuseUpdates(round, site_id, "the site was revoked") : absl::OkStatus();
  }));
  NewsForAll();
  return absl::OkStatus();
}

void RoundMachine::Heard(const std::string& site_id) {
  MutexLock lock(mutex_);
  presence_.Heard(site_id, clock_.Monotonic(), /*progress=*/false);
}

absl::StatusOr<bool> RoundMachine::Works(const std::string& site_id, const SiteJob& job) {
  store_.SeeNode(site_id, UnixMilliseconds(clock_.Now()));
  MutexLock lock(mutex_);
  presence_.Works(site_id, job, clock_.Monotonic());
  instances_.Heard(site_id, clock_.Monotonic());
  if (!open_ || open_->round != job.round) return false;
  const std::string update_id = UpdateIdOf(options_.federation, open_->round, site_id, open_->adapter_in);
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<UpdateRow> update, store_.FindUpdate(update_id));
  return update && update->state == UpdateState::kExpected;
}

std::map<std::string, SitePresence> RoundMachine::Present() {
  MutexLock lock(mutex_);
  return presence_.sites();
}

FederationSummary RoundMachine::Summary() {
  MutexLock lock(mutex_);
  std::vector<UpdateRow> updates;
  if (open_) updates = store_.UpdatesOf(open_->round).value_or(updates);
  FederationSummary summary = Summarize(options_, open_, updates, latest_);
  if (paused_ && !open_ && latest_ < options_.rounds) summary.state = "paused";
  summary.adapter_sha256 = latest_adapter_;
  return summary;
}

}  // namespace fedglm
