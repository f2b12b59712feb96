#include "aggregator/round_machine.h"

#include <algorithm>
#include <set>
#include <utility>

#include "aggregator/rules/round_verdict.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/utf8.h"

namespace fedglm {
namespace {

constexpr auto kTick = std::chrono::milliseconds(250);
constexpr size_t kMaxReason = 300;

// Names in a reason come from the site: no line of it may look like a line of our log, or fill it.
std::string ShortReason(std::string_view reason) { return OneLine(reason, kMaxReason); }

int64_t Count(const std::vector<UpdateRow>& updates, UpdateState state) {
  return std::count_if(updates.begin(), updates.end(), [&](const UpdateRow& u) { return u.state == state; });
}

}  // namespace

RoundMachine::RoundMachine(const AggregatorOptions& options, Store& store, const Artifacts& artifacts,
                           const Artifacts& states, Spool& spool, const CertificateAuthority& authority, Clock& clock)
    : options_(options),
      strategy_(options.strategy ? options.strategy : DefaultStrategy(options.mode)),
      store_(store),
      artifacts_(artifacts),
      states_(states),
      spool_(spool),
      authority_(authority),
      clock_(clock),
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

// The adapter that round 1 starts from, signed like every other. Once: later starts find it in the store.
absl::Status RoundMachine::PublishInitialAdapter() {
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, LoadAdapter(options_.initial_adapter));
  if (!adapter.provenance || adapter.provenance->base_sha256.empty()) {
    return ConfigurationError(options_.initial_adapter.string() +
                              ": does not say which base it is for; make it with `fedglm adapter init`");
  }
  Provenance provenance;
  provenance.base_sha256 = adapter.provenance->base_sha256;
  provenance.federation = options_.federation;
  provenance.mode = UpdateFormName(options_.mode);
  provenance.weights_sha256 = WeightsSha256(adapter);
  FEDGLM_ASSIGN_OR_RETURN(provenance.signature, authority_.SignAdapter(SignedBytes(adapter.config, provenance)));
  adapter.provenance = provenance;
  FEDGLM_ASSIGN_OR_RETURN(const std::string sha256, artifacts_.Put(SerializeAdapter(adapter)));
  return store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.SetSetting("federation", options_.federation));
    FEDGLM_RETURN_IF_ERROR(store_.SetSetting("mode", provenance.mode));
    FEDGLM_RETURN_IF_ERROR(store_.SetSetting("strategy", std::string(strategy_->name())));
    return store_.SetSetting("initial_adapter", sha256);
  });
}

absl::Status RoundMachine::CheckBelongs() {
  FEDGLM_ASSIGN_OR_RETURN(const std::string federation, store_.Setting("federation"));
  FEDGLM_ASSIGN_OR_RETURN(const std::string mode, store_.Setting("mode"));
  FEDGLM_ASSIGN_OR_RETURN(std::string strategy, store_.Setting("strategy"));
  if (strategy.empty()) strategy = DefaultStrategy(options_.mode)->name();  // begun when the mode said it all
  if (mode == UpdateFormName(options_.mode) && federation == options_.federation && strategy == strategy_->name()) {
    return absl::OkStatus();
  }
  return ConfigurationError("the state folder belongs to federation '" + federation + "' in mode " + mode +
                            " with strategy " + strategy + "; another one needs another state_dir");
}

absl::Status RoundMachine::Load() {
  FEDGLM_ASSIGN_OR_RETURN(std::string initial, store_.Setting("initial_adapter"));
  if (initial.empty()) {
    FEDGLM_RETURN_IF_ERROR(PublishInitialAdapter());
    FEDGLM_ASSIGN_OR_RETURN(initial, store_.Setting("initial_adapter"));
  }
  FEDGLM_RETURN_IF_ERROR(CheckBelongs());
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<RoundRow> last, store_.LastRound());
  std::set<std::string> wanted;  // a round may have been closed and its updates not yet removed
  MutexLock lock(mutex_);
  latest_adapter_ = initial;
  if (last && last->state == RoundState::kOpen) {
    open_ = last;
    latest_ = last->round - 1;
    latest_adapter_ = last->adapter_in;
    latest_state_ = last->state_in;
    LogInfo("going on with round " + std::to_string(last->round));
    FEDGLM_RETURN_IF_ERROR(ForgiveOutage());
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
  FEDGLM_RETURN_IF_ERROR(ReadState(latest_state_).status());  // told at the start, not when the next round is closed
  FEDGLM_ASSIGN_OR_RETURN(const std::string bytes, artifacts_.Read(latest_adapter_));
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, ParseAdapter(bytes));
  max_update_bytes_ = std::min(options_.max_update_bytes, MostUpdateBytes(adapter, options_.mode));
  base_sha256_ = adapter.provenance ? adapter.provenance->base_sha256 : "";
  global_ = std::make_shared<Adapter>(std::move(adapter));
  return absl::OkStatus();
}

// Sites ask for work several times a minute: the last time that one did is when this aggregator was last there.
absl::Status RoundMachine::ForgiveOutage() {
  constexpr int64_t kCadenceMs = 120000;
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<NodeRow> nodes, store_.Nodes());
  int64_t last_alive = open_->started_unix_ms;
  for (const NodeRow& node : nodes) last_alive = std::max(last_alive, node.last_seen_unix_ms);
  const int64_t deadline =
      DeadlineAfterOutage(open_->deadline_unix_ms, last_alive, UnixMilliseconds(clock_.Now()), kCadenceMs);
  if (deadline == open_->deadline_unix_ms) return absl::OkStatus();
  LogInfo("nobody could send for " + std::to_string((deadline - open_->deadline_unix_ms) / 1000) +
          " s: the round's deadline is so much later");
  open_->deadline_unix_ms = deadline;
  return store_.SetDeadline(open_->round, deadline);
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

absl::StatusOr<std::optional<RoundMachine::DecidedRound>> RoundMachine::OpenOrDecideRound() {
  const std::optional<DecidedRound> none;
  if (!open_) {
    if (latest_ < options_.rounds) FEDGLM_RETURN_IF_ERROR(OpenRound());
    return none;
  }
  FEDGLM_ASSIGN_OR_RETURN(std::vector<UpdateRow> updates, store_.UpdatesOf(open_->round));
  const int64_t now = UnixMilliseconds(clock_.Now());
  const RoundProgress progress = {Count(updates, UpdateState::kExpected), Count(updates, UpdateState::kAccepted),
                                  std::max(open_->started_unix_ms, asked_unix_ms_), open_->deadline_unix_ms, now};
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

absl::StatusOr<RoundMachine::Cohort> RoundMachine::PresentSites(const RoundRow& round, int64_t since) {
  // A site whose call waited when the last round began has not called since, but has sent its update.
  std::set<std::string> took_part;
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<UpdateRow> updates, store_.UpdatesOf(round.round - 1));
  for (const UpdateRow& update : updates) {
    if (update.state == UpdateState::kAccepted) took_part.insert(update.site_id);
  }
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<NodeRow> nodes, store_.Nodes());
  Cohort cohort;
  for (const NodeRow& node : nodes) {
    const bool there = node.last_seen_unix_ms >= since || took_part.contains(node.site_id);
    if (node.revoked || !there || node.training_records == 0) continue;
    cohort.emplace_back(UpdateIdOf(options_.federation, round.round, node.site_id, round.adapter_in), node.site_id);
  }
  return cohort;
}

absl::Status RoundMachine::OpenRound() {
  // Everybody who asked for work since the last round began; who has gone silent does not hold the others up.
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<RoundRow> last, store_.LastRound());
  RoundRow round;
  round.round = latest_ + 1;
  round.adapter_in = latest_adapter_;
  round.state_in = latest_state_;
  round.started_unix_ms = UnixMilliseconds(clock_.Now());
  round.deadline_unix_ms = round.started_unix_ms + options_.round_timeout_seconds * 1000;
  FEDGLM_ASSIGN_OR_RETURN(const Cohort cohort, PresentSites(round, last ? last->started_unix_ms : 1));
  if (static_cast<int64_t>(cohort.size()) < options_.min_sites) return absl::OkStatus();
  FEDGLM_RETURN_IF_ERROR(store_.OpenRound(round, cohort));
  open_ = round;
  LogInfo("round " + std::to_string(round.round) + " of " + std::to_string(options_.rounds) + " begins with " +
          std::to_string(cohort.size()) + " sites");
  Changed();
  return absl::OkStatus();
}

absl::Status RoundMachine::BeginAgain(const std::string& reason) {
  const int64_t now = UnixMilliseconds(clock_.Now());
  FEDGLM_ASSIGN_OR_RETURN(const Cohort cohort, PresentSites(*open_, open_->started_unix_ms));
  const int64_t round = open_->round;
  const std::string name = "round " + std::to_string(round);
  const bool news = reason != why_again_;  // the audit log does not grow by a line a minute
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.BeginAgain(round, cohort));
    return news ? store_.AddAudit(now, "aggregator", "round begins again", name, reason) : absl::OkStatus();
  }));
  why_again_ = reason;
  asked_unix_ms_ = now;
  LogWarning(name + " begins again: " + reason);
  Changed();
  return absl::OkStatus();
}

absl::StatusOr<TensorMap> RoundMachine::ReadState(const std::string& sha256) const {
  if (sha256.empty()) return TensorMap();
  const absl::StatusOr<std::string> bytes = states_.Read(sha256);
  absl::StatusOr<TensorMap> state = bytes.ok() ? ParseTensors(*bytes) : bytes.status();
  if (state.ok()) return state;
  return FailedError("what the strategy remembers (strategy/" + sha256 + " in the state folder) cannot be read: " +
                     Message(state.status()) + "; restore the folder from a copy");
}

absl::Status RoundMachine::MapAccepted(const UpdateRow& update, MappedUpdates& updates) {
  const absl::Status mapped = updates.Add(spool_.Path(update.update_id), update.sha256, update.examples);
  if (mapped.ok() || ExitCodeOf(mapped) != ExitCode::kBadInputFile) return mapped;
  // The disk lost what was accepted. To try again would fail for ever: the site is asked for it once more.
  spool_.Remove(update.update_id);
  MutexLock lock(mutex_);
  FEDGLM_RETURN_IF_ERROR(store_.ExpectAgain(update.update_id));
  Changed();
  return FailedError("the update of " + update.site_id + " was lost on disk and is expected again");
}

absl::StatusOr<RoundResult> RoundMachine::Combine(const DecidedRound& decided) {
  MappedUpdates updates;
  for (const UpdateRow& update : decided.accepted) FEDGLM_RETURN_IF_ERROR(MapAccepted(update, updates));
  FEDGLM_ASSIGN_OR_RETURN(TensorMap state, ReadState(decided.round.state_in));
  FEDGLM_ASSIGN_OR_RETURN(RoundResult result, CombineUpdates(*strategy_, *decided.global, options_.mode,
                                                             options_.bounds, updates, std::move(state)));
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

absl::Status RoundMachine::CloseRound(const DecidedRound& decided) {
  RoundRow round = decided.round;
  Provenance provenance;
  provenance.base_sha256 = base_sha256_;
  provenance.federation = options_.federation;
  provenance.round = round.round;
  provenance.mode = UpdateFormName(options_.mode);
  FEDGLM_ASSIGN_OR_RETURN(RoundResult made, Combine(decided));
  AggregationResult& result = made.combined;
  for (const size_t update : made.contributors) provenance.contributors.push_back(decided.accepted[update].sha256);
  // A round to which nobody contributed leaves what the strategy remembers as it is.
  if (provenance.contributors.empty()) {
    round.state_out = round.state_in;
  } else if (!result.state.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(round.state_out, states_.Put(SerializeTensors(result.state)));
  }
  provenance.weights_sha256 = WeightsSha256(result.adapter);
  FEDGLM_ASSIGN_OR_RETURN(provenance.signature, authority_.SignAdapter(SignedBytes(result.adapter.config, provenance)));
  result.adapter.provenance = provenance;
  FEDGLM_ASSIGN_OR_RETURN(round.adapter_out, artifacts_.Put(SerializeAdapter(result.adapter)));
  round.truncation_error = result.truncation_error;
  round.ended_unix_ms = UnixMilliseconds(clock_.Now());

  MutexLock lock(mutex_);
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.CloseRound(round));
    for (const UpdateRemark& remark : made.remarks) {
      FEDGLM_RETURN_IF_ERROR(store_.AddAudit(round.ended_unix_ms, "aggregator", remark.action,
                                             decided.accepted[remark.update].site_id,
                                             "round " + std::to_string(round.round) + ": " + remark.detail));
    }
    return absl::OkStatus();
  }));
  // The round is closed in the store: from here on its updates are no longer needed, nor is what was remembered before.
  spool_.RemoveAllBut({});
  states_.RemoveAllBut(round.state_out);
  latest_ = round.round;
  latest_adapter_ = round.adapter_out;
  latest_state_ = round.state_out;
  global_ = std::make_shared<Adapter>(std::move(result.adapter));
  open_.reset();
  LogInfo("round " + std::to_string(latest_) + " is done: " + std::to_string(provenance.contributors.size()) +
          " updates, adapter " + latest_adapter_.substr(0, 12));
  Changed();
  return absl::OkStatus();
}

absl::StatusOr<Work> RoundMachine::WorkFor(const std::string& site_id, int64_t installed_round) {
  if (installed_round < latest_) return Work(InstallWork{latest_, latest_adapter_});
  if (open_) {
    const std::string update_id = UpdateIdOf(options_.federation, open_->round, site_id, open_->adapter_in);
    FEDGLM_ASSIGN_OR_RETURN(const std::optional<UpdateRow> update, store_.FindUpdate(update_id));
    if (update && update->state == UpdateState::kExpected) {
      return Work(TrainWork{open_->round, open_->adapter_in, update_id});
    }
  } else if (latest_ >= options_.rounds) {
    return Work(FinishedWork{});
  }
  return Work(WaitWork{});
}

absl::StatusOr<Work> RoundMachine::NextWork(const std::string& site_id, int64_t installed_round,
                                            int64_t training_records, std::chrono::milliseconds max_wait,
                                            const std::function<bool()>& cancelled) {
  const auto until = std::chrono::steady_clock::now() + max_wait;
  FEDGLM_RETURN_IF_ERROR(store_.TouchNode(site_id, UnixMilliseconds(clock_.Now()), training_records, installed_round));
  MutexLock lock(mutex_);
  const uint64_t call = ++calls_[site_id];
  Changed();  // one more site may be what the next round was waiting for
  while (true) {
    const uint64_t seen = generation_;
    FEDGLM_ASSIGN_OR_RETURN(const Work work, WorkFor(site_id, installed_round));
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
  const absl::StatusOr<TensorMap> tensors = ParseTensors(bytes);
  absl::Status fits = tensors.ok() ? CheckUpdate(*tensors, *global, options_.mode) : tensors.status();
  if (fits.ok()) fits = CheckRange(*tensors, claim.examples);
  update.state = fits.ok() ? UpdateState::kAccepted : UpdateState::kRefused;
  update.reason = fits.ok() ? "" : ShortReason(Message(fits));
  update.sha256 = claim.sha256;
  update.bytes = static_cast<int64_t>(bytes.size());
  update.examples = claim.examples;
  update.training_loss = claim.training_loss;
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
    return store_.RefuseExpected(site_id, "the site was revoked");  // the round does not wait for it
  }));
  Changed();
  return absl::OkStatus();
}

FederationSummary RoundMachine::Summary() {
  MutexLock lock(mutex_);
  FederationSummary summary;
  summary.round = open_ ? open_->round : latest_;
  summary.adapter_sha256 = latest_adapter_;
  summary.state = open_ ? "training" : latest_ >= options_.rounds ? "finished" : "waiting";
  if (open_) {
    const absl::StatusOr<std::vector<UpdateRow>> updates = store_.UpdatesOf(open_->round);
    if (updates.ok()) {
      summary.updates_expected = static_cast<int64_t>(updates->size());
      summary.updates_received = summary.updates_expected - Count(*updates, UpdateState::kExpected);
      const bool decided = summary.updates_received == summary.updates_expected;
      if (decided && Count(*updates, UpdateState::kAccepted) >= options_.min_updates) summary.state = "aggregating";
    }
  }
  return summary;
}

}  // namespace fedglm
