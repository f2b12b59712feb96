#include "aggregator/round_machine.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "aggregator/strategy/strategy.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/utf8.h"

namespace fedglm {
namespace {

constexpr auto kTick = std::chrono::milliseconds(250);
// More than any site has. The sum over all sites stays far from what an int64 holds.
constexpr int64_t kMaxExamples = int64_t{1} << 40;
constexpr size_t kMaxReason = 300;

// The same for the same site and round, whoever asks and whenever: an update that is sent twice is the same update.
std::string UpdateIdOf(const std::string& federation, int64_t round, const std::string& site_id,
                       const std::string& adapter) {
  return Sha256Hex(federation + "\n" + std::to_string(round) + "\n" + site_id + "\n" + adapter).substr(0, 32);
}

// Names in a reason come from the site: no line of it may look like a line of our log, or fill it.
std::string ShortReason(std::string_view reason) { return OneLine(reason, kMaxReason); }

absl::Status Refusal(const std::string& reason) { return RefusedError(ShortReason(reason)); }

// What an honest update of this adapter can have: its values in float32, and room for names, shapes and metadata.
uint64_t MaxUpdateBytes(const Adapter& global, UpdateForm mode) {
  uint64_t bytes = 1 << 20;
  for (const auto& [name, tensor] : TensorsOf(global, mode)) {
    bytes += tensor.values.size() * sizeof(float) + name.size() + 256;
  }
  return bytes;
}

bool IsFinite(const Adapter& adapter) {
  const auto finite = [](const Matrix& m) {
    return std::all_of(m.values.begin(), m.values.end(), [](float value) { return std::isfinite(value); });
  };
  return std::all_of(adapter.modules.begin(), adapter.modules.end(),
                     [&](const auto& module) { return finite(module.second.a) && finite(module.second.b); });
}

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
      clock_(clock) {}

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
  max_update_bytes_ = std::min(options_.max_update_bytes, MaxUpdateBytes(adapter, options_.mode));
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

absl::StatusOr<std::optional<RoundMachine::DecidedRound>> RoundMachine::OpenOrDecideRound() {
  const std::optional<DecidedRound> none;
  if (!open_) {
    if (latest_ < options_.rounds) FEDGLM_RETURN_IF_ERROR(OpenRound());
    return none;
  }
  FEDGLM_ASSIGN_OR_RETURN(std::vector<UpdateRow> updates, store_.UpdatesOf(open_->round));
  const int64_t now = UnixMilliseconds(clock_.Now());
  if (Count(updates, UpdateState::kExpected) > 0) {
    if (now < open_->deadline_unix_ms || Count(updates, UpdateState::kAccepted) < options_.min_updates) return none;
    for (UpdateRow& update : updates) {
      if (update.state != UpdateState::kExpected) continue;
      update.state = UpdateState::kRefused;
      update.reason = "late: the round's deadline has passed";
      FEDGLM_RETURN_IF_ERROR(store_.DecideUpdate(update, now));
      LogWarning("round " + std::to_string(open_->round) + " goes on without " + update.site_id + ": late");
    }
  }
  return std::make_optional(DecidedRound{*open_, std::move(updates), global_});
}

absl::Status RoundMachine::OpenRound() {
  // Everybody who asked for work since the last round began; who has gone silent does not hold the others up.
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<NodeRow> nodes, store_.Nodes());
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<RoundRow> last, store_.LastRound());
  RoundRow round;
  round.round = latest_ + 1;
  round.adapter_in = latest_adapter_;
  round.state_in = latest_state_;
  round.started_unix_ms = UnixMilliseconds(clock_.Now());
  round.deadline_unix_ms = round.started_unix_ms + options_.round_timeout_seconds * 1000;
  // A site whose call waited when the last round began has not called since, but has sent its update.
  std::set<std::string> took_part;
  if (last) {
    FEDGLM_ASSIGN_OR_RETURN(const std::vector<UpdateRow> updates, store_.UpdatesOf(last->round));
    for (const UpdateRow& update : updates) {
      if (update.state == UpdateState::kAccepted) took_part.insert(update.site_id);
    }
  }
  std::vector<std::pair<std::string, std::string>> cohort;
  for (const NodeRow& node : nodes) {
    const int64_t since = last ? last->started_unix_ms : 1;
    const bool there = node.last_seen_unix_ms >= since || took_part.contains(node.site_id);
    if (node.revoked || !there || node.training_records == 0) continue;
    cohort.emplace_back(UpdateIdOf(options_.federation, round.round, node.site_id, round.adapter_in), node.site_id);
  }
  if (static_cast<int64_t>(cohort.size()) < options_.min_sites) return absl::OkStatus();
  FEDGLM_RETURN_IF_ERROR(store_.OpenRound(round, cohort));
  open_ = round;
  LogInfo("round " + std::to_string(round.round) + " of " + std::to_string(options_.rounds) + " begins with " +
          std::to_string(cohort.size()) + " sites");
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

absl::StatusOr<std::string> RoundMachine::ReadAccepted(const UpdateRow& update) {
  absl::StatusOr<std::string> bytes = spool_.Read(update.update_id);
  if (!bytes.ok() && bytes.status().code() != absl::StatusCode::kNotFound) return bytes;
  if (bytes.ok() && Sha256Hex(*bytes) == update.sha256) return bytes;
  // The disk lost what was accepted. To try again would fail for ever: the site is asked for it once more.
  spool_.Remove(update.update_id);
  MutexLock lock(mutex_);
  FEDGLM_RETURN_IF_ERROR(store_.ExpectAgain(update.update_id));
  Changed();
  return FailedError("the update of " + update.site_id + " was lost on disk and is expected again");
}

absl::StatusOr<AggregationResult> RoundMachine::Aggregate(const DecidedRound& decided,
                                                          std::vector<std::string>& contributors) {
  const std::string round = "round " + std::to_string(decided.round.round);
  FEDGLM_ASSIGN_OR_RETURN(TensorMap state, ReadState(decided.round.state_in));
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Aggregation> aggregation,
                          strategy_->Begin(*decided.global, options_.mode, std::move(state)));
  for (const UpdateRow& update : decided.updates) {  // in the order of their ids
    if (update.state != UpdateState::kAccepted) continue;
    FEDGLM_ASSIGN_OR_RETURN(const std::string bytes, ReadAccepted(update));
    FEDGLM_ASSIGN_OR_RETURN(const TensorMap tensors, ParseTensors(bytes));
    FEDGLM_RETURN_IF_ERROR(aggregation->Fold(tensors, update.examples));
    contributors.push_back(update.sha256);
  }
  if (!contributors.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(AggregationResult result, aggregation->Finish());
    if (IsFinite(result.adapter) && std::isfinite(NormOf(result.state))) return result;
    // Every value that arrived was finite, but their sum is not. Nobody could load what came out, this program neither.
    LogError(round + ": the updates add up to values that are not finite");
    contributors.clear();
  }
  LogWarning(round + " had no acceptable update: the adapter stays as it is");
  return AggregationResult{*decided.global, 0};
}

absl::Status RoundMachine::CloseRound(const DecidedRound& decided) {
  RoundRow round = decided.round;
  Provenance provenance;
  provenance.base_sha256 = base_sha256_;
  provenance.federation = options_.federation;
  provenance.round = round.round;
  provenance.mode = UpdateFormName(options_.mode);
  FEDGLM_ASSIGN_OR_RETURN(AggregationResult result, Aggregate(decided, provenance.contributors));
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
  FEDGLM_RETURN_IF_ERROR(store_.CloseRound(round));
  // The round is closed in the store: from here on its updates are no longer needed, nor is what was remembered before.
  for (const UpdateRow& update : decided.updates) spool_.Remove(update.update_id);
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
  if (!open_ || update->round != open_->round)
    return RefusedError("round " + std::to_string(update->round) + " is closed");
  if (claim.round != open_->round) return RefusedError("the update is of another round");
  if (claim.base_sha256 != base_sha256_) return RefusedError("the update is for another base");
  if (claim.adapter_sha256 != open_->adapter_in) return RefusedError("the update starts from another adapter");
  if (claim.mode != UpdateFormName(options_.mode)) return Refusal("the update is of mode " + claim.mode);
  if (claim.examples > kMaxExamples) return RefusedError("the update comes from more examples than anybody has");
  if (claim.examples < 1) return RefusedError("the update comes from no example");
  if (!std::isfinite(claim.training_loss)) return RefusedError("the training loss is not finite");
  if (claim.bytes == 0 || claim.bytes > max_update_bytes_) {
    return RefusedError("the update has " + std::to_string(claim.bytes) + " bytes; the limit is " +
                        std::to_string(max_update_bytes_));
  }
  return *update;
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
  FEDGLM_RETURN_IF_ERROR(store_.DecideUpdate(update, UnixMilliseconds(clock_.Now())));
  if (update.state == UpdateState::kRefused) {
    spool_.Remove(claim.update_id);
    LogWarning("the update of " + site_id + " is refused: " + update.reason);
  } else {
    LogInfo("round " + std::to_string(update.round) + ": update of " + site_id + ", " + std::to_string(update.bytes) +
            " bytes, " + std::to_string(update.examples) + " examples");
  }
  Changed();
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
  const absl::Status fits = tensors.ok() ? CheckUpdate(*tensors, *global, options_.mode) : tensors.status();
  update.state = fits.ok() ? UpdateState::kAccepted : UpdateState::kRefused;
  update.reason = fits.ok() ? "" : ShortReason(Message(fits));
  update.sha256 = claim.sha256;
  update.bytes = static_cast<int64_t>(bytes.size());
  update.examples = claim.examples;
  update.training_loss = claim.training_loss;
  return absl::OkStatus();
}

absl::Status RoundMachine::ReportEvaluation(const std::string& site_id, int64_t round, double loss, int64_t tokens) {
  if (!std::isfinite(loss) || loss < 0 || tokens < 1)
    return RefusedError("an evaluation must be a finite loss over at least one token");
  {
    MutexLock lock(mutex_);
    if (round < 0 || round > latest_) return RefusedError("no such round");
  }
  return store_.PutEvaluation({round, site_id, loss, tokens});
}

absl::StatusOr<bool> RoundMachine::IsNews(LastRounds& said, const std::string& site_id, int64_t round) const {
  if (round < 0 || round > latest_) return RefusedError("no such round");
  const auto [last, first] = said.try_emplace(site_id, round);
  const bool news = first || round > last->second;
  if (news) last->second = round;
  return news;
}

absl::Status RoundMachine::ReportFailedEvaluation(const std::string& site_id, int64_t round) {
  MutexLock lock(mutex_);
  FEDGLM_ASSIGN_OR_RETURN(const bool news, IsNews(failed_evaluations_, site_id, round));
  if (!news) return absl::OkStatus();
  const std::string detail =
      "round " + std::to_string(round) + ": the site could not evaluate the adapter, and uses the one before";
  LogWarning(site_id + ": " + detail);
  return store_.AddAudit(UnixMilliseconds(clock_.Now()), site_id, "evaluation failed", site_id, detail);
}

absl::Status RoundMachine::ReportRejection(const std::string& site_id, int64_t round, const std::string& adapter_sha256,
                                           const std::string& reason) {
  MutexLock lock(mutex_);
  FEDGLM_ASSIGN_OR_RETURN(const bool news, IsNews(rejections_, site_id, round));
  if (!news) return absl::OkStatus();
  const std::string detail =
      ShortReason("round " + std::to_string(round) + ", adapter " + adapter_sha256.substr(0, 12) + ": " + reason);
  LogError(site_id + " does not use an adapter: " + detail);
  return store_.AddAudit(UnixMilliseconds(clock_.Now()), site_id, "adapter rejected", site_id, detail);
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
      if (summary.updates_received == summary.updates_expected) summary.state = "aggregating";
    }
  }
  return summary;
}

}  // namespace fedglm
