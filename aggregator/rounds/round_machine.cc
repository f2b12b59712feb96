#include "aggregator/rounds/round_machine.h"

#include <algorithm>
#include <set>
#include <utility>

#include "aggregator/rounds/examination.h"
#include "aggregator/rounds/founding.h"
#include "base/digest.h"
#include "base/log.h"

namespace fedglm {
namespace {

constexpr auto kTick = std::chrono::milliseconds(250);

}  // namespace

RoundMachine::RoundMachine(const AggregatorOptions& options, Store& store, const Artifacts& artifacts,
                           const Artifacts& states, Spool& spool, const CertificateAuthority& authority, Clock& clock)
    : options_(options),
      strategy_(options.strategy ? options.strategy : DefaultStrategy(options.mode)),
      store_(store),
      states_(states),
      spool_(spool),
      publisher_(options_, artifacts, authority),
      combiner_(options_, *strategy_, states, spool),
      clock_(clock),
      started_(clock.Monotonic()),
      reports_(store, clock) {}

absl::StatusOr<std::unique_ptr<RoundMachine>> RoundMachine::Open(const AggregatorOptions& options, Store& store,
                                                                 const Artifacts& artifacts, const Artifacts& states,
                                                                 Spool& spool, const CertificateAuthority& authority,
                                                                 Clock& clock) {
  std::unique_ptr<RoundMachine> machine(new RoundMachine(options, store, artifacts, states, spool, authority, clock));
  FEDGLM_RETURN_IF_ERROR(machine->Load());
  machine->thread_ = std::thread([m = machine.get()] { m->Run(); });
  return machine;
}

RoundMachine::~RoundMachine() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    Changed();
  }
  if (thread_.joinable()) thread_.join();
}

absl::Status RoundMachine::Load() {
  FEDGLM_ASSIGN_OR_RETURN(const std::string initial, FoundFederation(options_, *strategy_, publisher_, store_));
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<RoundRow> last, store_.LastRound());
  std::set<std::string> wanted;  // a round may have been closed and its updates not yet removed
  MutexLock lock(mutex_);
  latest_adapter_ = initial;
  began_ = asked_ = clock_.Monotonic();
  if (last && last->state == RoundState::kOpen) {
    open_ = last;
    latest_ = last->round - 1;
    latest_adapter_ = last->adapter_in;
    latest_state_ = last->state_in;
    LogInfo("going on with round " + std::to_string(last->round));
    const int64_t now = UnixMilliseconds(clock_.Now());
    FEDGLM_ASSIGN_OR_RETURN(open_->deadline_unix_ms, ForgiveOutage(store_, *last, now));
    const int64_t left_ms = open_->deadline_unix_ms - now, most_ms = options_.round_timeout_seconds * 1000;
    deadline_ = began_ + std::chrono::milliseconds(std::min(left_ms, most_ms));  // the clock may be wrong at a start
    FEDGLM_ASSIGN_OR_RETURN(const std::vector<UpdateRow> updates, store_.UpdatesOf(last->round));
    for (const UpdateRow& update : updates) {
      if (update.state != UpdateState::kRefused) wanted.insert(update.update_id);
    }
  } else if (last) {
    latest_ = last->round;
    latest_adapter_ = last->adapter_out;
    latest_state_ = last->state_out;
  }
  spool_.RemoveAllBut(wanted);
  states_.RemoveAllBut(latest_state_);
  FEDGLM_RETURN_IF_ERROR(
      combiner_.ReadState(latest_state_).status());  // told at the start, not when the next round is closed
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, publisher_.Read(latest_adapter_));
  max_update_bytes_ = std::min(options_.max_update_bytes, MostUpdateBytes(adapter, options_.mode));
  base_sha256_ = adapter.provenance ? adapter.provenance->base_sha256 : "";
  global_ = std::make_shared<Adapter>(std::move(adapter));
  return absl::OkStatus();
}

void RoundMachine::Changed() {
  ++generation_;
  changed_.notify_all();
}

void RoundMachine::Run() {
  while (true) {
    uint64_t seen;
    {
      MutexLock lock(mutex_);
      seen = generation_;
    }
    const absl::Status status = Advance();
    MutexLock lock(mutex_);
    if (stopping_) return;
    if (status.ok()) {
      // Also wakes without a change: deadlines pass.
      if (generation_ == seen) lock.WaitFor(changed_, kTick);
    } else {
      LogError("round " + std::to_string(latest_ + 1) + ": " + Message(status) + "; will be tried again");
      lock.WaitFor(changed_, std::chrono::seconds(5));
    }
    if (stopping_) return;
  }
}

absl::Status RoundMachine::Advance() {
  std::optional<DecidedRound> decided;
  {
    MutexLock lock(mutex_);
    FEDGLM_ASSIGN_OR_RETURN(decided, OpenOrDecideRound());
  }
  return decided ? CloseRound(*decided) : absl::OkStatus();
}

RoundProgress RoundMachine::ProgressOf(const std::vector<UpdateRow>& updates) {
  const FederationSummary summary = Summarize(options_, open_, updates, latest_);
  const auto now = clock_.Monotonic();
  const SilenceTerms silence = {started_, now, std::chrono::seconds(options_.silence_seconds)};
  return {static_cast<int64_t>(summary.missing.size()),
          summary.accepted,
          CountSilent(updates, presence_, silence),
          asked_,
          deadline_,
          now};
}

absl::StatusOr<std::optional<DecidedRound>> RoundMachine::OpenOrDecideRound() {
  const std::optional<DecidedRound> none;
  FEDGLM_ASSIGN_OR_RETURN(const bool taken_back, TakeBackRejected());
  if (taken_back) return none;
  if (!open_) {
    if (latest_ < options_.rounds) FEDGLM_RETURN_IF_ERROR(OpenRound());
    return none;
  }
  FEDGLM_ASSIGN_OR_RETURN(std::vector<UpdateRow> updates, store_.UpdatesOf(open_->round));
  const int64_t now = UnixMilliseconds(clock_.Now());
  const RoundProgress progress = ProgressOf(updates);
  const RoundVerdict verdict = Judge(progress, options_.min_updates);
  if (verdict == RoundVerdict::kGoesOn) return none;
  if (verdict == RoundVerdict::kBeginsAgain) {
    FEDGLM_RETURN_IF_ERROR(BeginAgain(WhyAgain(progress, options_.min_updates)));
    return none;
  }
  for (UpdateRow& update : updates) {
    if (update.state != UpdateState::kExpected) continue;
    update.state = UpdateState::kRefused;
    update.reason = "late: the round's deadline has passed";
    FEDGLM_RETURN_IF_ERROR(store_.DecideUpdate(update, now));
    spool_.Remove(update.update_id);
    LogWarning("round " + std::to_string(open_->round) + " goes on without " + update.site_id + ": late");
  }
  std::erase_if(updates, [](const UpdateRow& update) { return update.state != UpdateState::kAccepted; });
  return std::make_optional(DecidedRound{*open_, std::move(updates), global_});
}

RoundRow RoundMachine::NextRound(int64_t now_unix_ms) const {
  RoundRow round;
  round.round = latest_ + 1;
  round.adapter_in = latest_adapter_;
  round.state_in = latest_state_;
  round.started_unix_ms = now_unix_ms;
  round.deadline_unix_ms = now_unix_ms + options_.round_timeout_seconds * 1000;
  return round;
}

absl::Status RoundMachine::OpenRound() {
  // Everybody who asked for work since the last round began; who has gone silent does not hold the others up.
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<RoundRow> last, store_.LastRound());
  const RoundRow round = NextRound(UnixMilliseconds(clock_.Now()));
  const BeganAt since = {last ? last->started_unix_ms : 1, began_};
  FEDGLM_ASSIGN_OR_RETURN(const Cohort cohort, PresentSites(store_, presence_, options_.federation, round, since));
  if (static_cast<int64_t>(cohort.size()) < options_.min_sites) return absl::OkStatus();
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&] { return store_.OpenRound(round, cohort); }));
  open_ = round;
  why_again_.clear();
  began_ = asked_ = clock_.Monotonic();
  deadline_ = began_ + std::chrono::seconds(options_.round_timeout_seconds);
  LogInfo("round " + std::to_string(round.round) + " of " + std::to_string(options_.rounds) + " begins with " +
          std::to_string(cohort.size()) + " sites");
  Changed();
  return absl::OkStatus();
}

absl::Status RoundMachine::BeginAgain(const std::string& reason) {
  const int64_t now = UnixMilliseconds(clock_.Now());
  const BeganAt since = {open_->started_unix_ms, began_};
  FEDGLM_ASSIGN_OR_RETURN(const Cohort cohort, PresentSites(store_, presence_, options_.federation, *open_, since));
  const int64_t round = open_->round;
  const std::string name = "round " + std::to_string(round);
  const bool news = reason != why_again_;  // the audit log does not grow by a line a minute
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.BeginAgain(round, cohort));
    return news ? store_.AddAudit(now, "aggregator", "round begins again", name, reason) : absl::OkStatus();
  }));
  why_again_ = reason;
  asked_ = clock_.Monotonic();
  if (news) LogWarning(name + " begins again: " + reason);
  Changed();
  return absl::OkStatus();
}

absl::Status RoundMachine::ExpectAgain(int64_t round, const std::string& update_id) {
  // To try again would fail for ever: the site is asked for it once more.
  spool_.Remove(update_id);
  MutexLock lock(mutex_);
  // Rolled back meanwhile, which empties the spool, or of a site that was revoked: nobody is to send it.
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<UpdateRow> update, store_.FindUpdate(update_id));
  if (!open_ || open_->round != round || !update || update->state != UpdateState::kAccepted) return absl::OkStatus();
  FEDGLM_RETURN_IF_ERROR(store_.ExpectAgain(update_id));
  Changed();
  return FailedError("an update was lost on disk and is expected again");
}

absl::Status RoundMachine::CloseRound(const DecidedRound& decided) {
  RoundRow round = decided.round;
  std::string lost;
  absl::StatusOr<RoundResult> combined = combiner_.Combine(decided, lost);
  if (!lost.empty()) return ExpectAgain(round.round, lost);
  FEDGLM_ASSIGN_OR_RETURN(RoundResult made, std::move(combined));
  AggregationResult& result = made.combined;
  std::vector<std::string> contributors;
  for (const size_t update : made.contributors) contributors.push_back(decided.accepted[update].sha256);
  // A round to which nobody contributed leaves what the strategy remembers as it is.
  if (contributors.empty()) {
    round.state_out = round.state_in;
  } else if (!result.state.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(round.state_out, states_.Put(SerializeTensors(result.state)));
  }
  FEDGLM_ASSIGN_OR_RETURN(round.adapter_out,
                          publisher_.Publish(result.adapter, base_sha256_, round.round, std::move(contributors)));
  round.truncation_error = result.truncation_error;
  round.ended_unix_ms = UnixMilliseconds(clock_.Now());

  MutexLock lock(mutex_);
  if (!open_ || open_->round != round.round) return absl::OkStatus();  // rolled back meanwhile
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<UpdateRow> updates, store_.UpdatesOf(round.round));
  const auto accepted = std::count_if(updates.begin(), updates.end(),
                                      [](const UpdateRow& update) { return update.state == UpdateState::kAccepted; });
  if (accepted != std::ssize(decided.accepted)) return absl::OkStatus();  // a site was revoked meanwhile: decided anew
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.CloseRound(round));
    for (const UpdateRemark& remark : made.remarks) {
      FEDGLM_RETURN_IF_ERROR(store_.AddAudit(round.ended_unix_ms, "aggregator", remark.action,
                                             decided.accepted[remark.update].site_id,
                                             "round " + std::to_string(round.round) + ": " + remark.detail));
    }
    return absl::OkStatus();
  }));
  LogInfo("round " + std::to_string(round.round) + " is done: " + std::to_string(made.contributors.size()) +
          " updates, adapter " + round.adapter_out.substr(0, 12));
  Adopt(round, std::move(result.adapter));
  return absl::OkStatus();
}

void RoundMachine::Adopt(const RoundRow& round, Adapter adapter) {
  // Its updates are no longer needed, nor is what was remembered before.
  spool_.RemoveAllBut({});
  states_.RemoveAllBut(round.state_out);
  latest_ = round.round;
  latest_adapter_ = round.adapter_out;
  latest_state_ = round.state_out;
  global_ = std::make_shared<Adapter>(std::move(adapter));
  open_.reset();
  Changed();
}

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
    FEDGLM_RETURN_IF_ERROR(store_.RefuseAllIn(round.round, "the round was rolled back"));
    FEDGLM_RETURN_IF_ERROR(store_.CloseRound(round));
    return store_.AddAudit(round.ended_unix_ms, actor, "rolled back", name, what);
  }));
  LogWarning(name + " rolls back " + what);
  Adopt(round, std::move(adapter));
  return absl::OkStatus();
}

absl::Status RoundMachine::RollBack(int64_t round, const std::string& reason, const std::string& actor) {
  MutexLock lock(mutex_);
  FEDGLM_ASSIGN_OR_RETURN(std::string adapter, store_.Setting("initial_adapter"));
  if (round != 0) {
    FEDGLM_ASSIGN_OR_RETURN(const std::vector<RoundRow> rows, store_.RoundsAfter(round - 1, 1));
    const bool there = !rows.empty() && rows.front().round == round && rows.front().state == RoundState::kDone;
    if (!there) return RefusedError("there is no round " + std::to_string(round) + " that is done");
    adapter = rows.front().adapter_out;
  }
  return RollBackTo(adapter, "to the adapter of round " + std::to_string(round) + (reason.empty() ? "" : ": ") + reason,
                    actor);
}

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

absl::StatusOr<Work> RoundMachine::NextWork(const std::string& site_id, const SitePosition& position,
                                            std::chrono::milliseconds max_wait,
                                            const std::function<bool()>& cancelled) {
  const auto until = std::chrono::steady_clock::now() + max_wait;
  const int64_t now = UnixMilliseconds(clock_.Now());
  FEDGLM_RETURN_IF_ERROR(store_.TouchNode(site_id, now, position.training_records, position.installed_round));
  MutexLock lock(mutex_);
  const uint64_t call = ++calls_[site_id];
  if (const auto news = presence_.Asked(site_id, position, clock_.Monotonic())) {
    LogWarning(site_id + ": " + news->action + ": " + news->detail);
    FEDGLM_RETURN_IF_ERROR(store_.AddAudit(now, "site:" + site_id, news->action, site_id, news->detail));
  }
  Changed();  // one more site may be what the next round was waiting for
  while (true) {
    const uint64_t seen = generation_;
    FEDGLM_ASSIGN_OR_RETURN(const Work work, WorkFor(site_id, position));
    if (!std::holds_alternative<WaitWork>(work) || stopping_ || calls_[site_id] != call) return work;
    while (generation_ == seen) {
      if (std::chrono::steady_clock::now() >= until || cancelled()) return work;
      lock.WaitFor(changed_,
                   std::min<std::chrono::steady_clock::duration>(kTick, until - std::chrono::steady_clock::now()));
    }
  }
}

absl::StatusOr<UpdateRow> RoundMachine::CheckClaim(const std::string& site_id, const UpdateClaim& claim) {
  // Under the lock: between the two looks a round could be closed, and the site would not hear that its update is late.
  MutexLock lock(mutex_);
  presence_.Heard(site_id, clock_.Monotonic(), /*progress=*/true);
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
  FEDGLM_ASSIGN_OR_RETURN(UpdateRow update, CheckClaim(site_id, claim));
  if (update.state == UpdateState::kRefused) spool_.Remove(claim.update_id);  // late, and part of it came later still
  if (update.state != UpdateState::kExpected) return update;
  FEDGLM_RETURN_IF_ERROR(Examine(claim, update));

  MutexLock lock(mutex_);
  // The round may have been closed while the update was looked at.
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<UpdateRow> now, store_.FindUpdate(claim.update_id));
  if (now && now->state != UpdateState::kExpected) return *now;
  FEDGLM_RETURN_IF_ERROR(Decide(update));
  return update;
}

absl::Status RoundMachine::Examine(const UpdateClaim& claim, UpdateRow& update) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string bytes, spool_.Read(claim.update_id));
  if (Sha256Hex(bytes) != claim.sha256) {
    spool_.Remove(claim.update_id);
    return absl::AbortedError("the bytes that arrived are not those of the digest: send them again");
  }
  std::shared_ptr<const Adapter> global;
  {
    MutexLock lock(mutex_);
    global = global_;
  }
  update = fedglm::Examine(std::move(update), claim, bytes, *global, options_.mode);
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
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.RevokeNode(site_id));
    FEDGLM_RETURN_IF_ERROR(store_.AddAudit(UnixMilliseconds(clock_.Now()), actor, "node revoked", site_id, reason));
    return store_.RefuseAllOf(site_id, "the site was revoked");  // the round neither waits for it nor counts it
  }));
  Changed();
  return absl::OkStatus();
}

void RoundMachine::Heard(const std::string& site_id) {
  MutexLock lock(mutex_);
  presence_.Heard(site_id, clock_.Monotonic(), /*progress=*/false);
}

absl::StatusOr<bool> RoundMachine::Works(const std::string& site_id, const SiteJob& job) {
  FEDGLM_RETURN_IF_ERROR(store_.SeeNode(site_id, UnixMilliseconds(clock_.Now())));
  MutexLock lock(mutex_);
  presence_.Works(site_id, job, clock_.Monotonic());
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
  summary.adapter_sha256 = latest_adapter_;
  return summary;
}

}  // namespace fedglm
