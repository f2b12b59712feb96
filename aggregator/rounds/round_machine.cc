#include "aggregator/rounds/round_machine.h"

#include <algorithm>
#include <set>
#include <utility>

#include "aggregator/rounds/founding.h"
#include "base/log.h"

namespace fedglm {
namespace {

using std::chrono::milliseconds, std::chrono::seconds;
constexpr auto kTick = milliseconds(250);
constexpr auto kGathering = milliseconds(10);  // sites that come one after the other are looked at together
constexpr auto kWriteLastSeen = seconds(5);    // more is not lost when the process is killed
constexpr char kLate[] = "late: the round's deadline has passed";

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
  machine->telling_ = std::thread([m = machine.get()] { m->KeepTelling(); });
  return machine;
}

RoundMachine::~RoundMachine() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    NewsForAll();
  }
  if (thread_.joinable()) thread_.join();
  if (telling_.joinable()) telling_.join();
  WaitingSites::Answers answers;
  {
    MutexLock lock(mutex_);
    waiting_.EndAll(answers);
  }
  answers.Tell();
}

absl::Status RoundMachine::Load() {
  FEDGLM_ASSIGN_OR_RETURN(const std::string initial, FoundFederation(options_, *strategy_, publisher_, store_));
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<RoundRow> last, store_.LastRound());
  std::set<std::string> wanted;  // a round may have been closed and its updates not yet removed
  FEDGLM_ASSIGN_OR_RETURN(const std::string paused, store_.Setting(kPausedSetting));
  MutexLock lock(mutex_);
  paused_ = !paused.empty();
  why_late_ = kLate;
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

void RoundMachine::NewsForAll() {
  news_ = true;
  to_tell_.notify_all();
  Changed();
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
    if (!status.ok()) {
      LogError("round " + std::to_string(latest_ + 1) + ": " + Message(status) + "; will be tried again");
      lock.WaitFor(changed_, seconds(5));
    } else if (!open_) {
      const auto until = std::chrono::steady_clock::now() + kGathering;
      while (!stopping_ && std::chrono::steady_clock::now() < until) lock.WaitFor(changed_, kGathering);
    }
    // Also wakes without a change: deadlines pass.
    if (!stopping_ && status.ok() && generation_ == seen) lock.WaitFor(changed_, kTick);
    if (stopping_) return;
  }
}

void RoundMachine::KeepTelling() {
  std::chrono::steady_clock::time_point last_seen_written;
  while (true) {
    {
      MutexLock lock(mutex_);
      if (!stopping_ && !news_) lock.WaitFor(to_tell_, kTick);  // and who has waited long enough
      if (stopping_) return;
    }
    TellSites();
    const auto now = std::chrono::steady_clock::now();
    if (now - last_seen_written < kWriteLastSeen) continue;
    last_seen_written = now;
    if (const absl::Status written = store_.WriteLastSeen(); !written.ok()) LogError(Message(written));
  }
}

void RoundMachine::TellSites() {
  WaitingSites::Answers answers;
  {
    MutexLock lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (std::exchange(news_, false)) {
      waiting_.Answer(
          now,
          [this](const std::string& site_id, const SitePosition& position)
              ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return WorkFor(site_id, position); },
          answers);
    } else {
      waiting_.Expire(now, answers);
    }
  }
  answers.Tell();
}

absl::Status RoundMachine::Advance() {
  std::optional<DecidedRound> decided;
  {
    MutexLock lock(mutex_);
    FEDGLM_ASSIGN_OR_RETURN(decided, OpenOrDecideRound());
  }
  return decided ? CloseRound(*decided) : absl::OkStatus();
}

RoundProgress RoundMachine::Progress() {
  const UpdateCounts updates = store_.CountUpdates();
  const auto now = clock_.Monotonic();
  const auto is_silent = [&](const std::string& site_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return presence_.IsSilent(site_id, started_, now, seconds(options_.silence_seconds));
  };
  return {updates.expected, updates.accepted, store_.AllExpected(is_silent), asked_, deadline_, now};
}

absl::StatusOr<std::optional<DecidedRound>> RoundMachine::OpenOrDecideRound() {
  const std::optional<DecidedRound> none;
  FEDGLM_ASSIGN_OR_RETURN(const bool taken_back, TakeBackRejected());
  if (taken_back) return none;
  if (!open_) {
    if (latest_ < options_.rounds && !paused_) FEDGLM_RETURN_IF_ERROR(OpenRound());
    return none;
  }
  const int64_t now = UnixMilliseconds(clock_.Now());
  const RoundProgress progress = Progress();
  const RoundVerdict verdict = Judge(progress, options_.min_updates);
  if (verdict == RoundVerdict::kGoesOn) return none;
  if (verdict == RoundVerdict::kBeginsAgain) {
    FEDGLM_RETURN_IF_ERROR(BeginAgain(WhyAgain(progress, options_.min_updates)));
    return none;
  }
  FEDGLM_ASSIGN_OR_RETURN(std::vector<UpdateRow> updates, store_.UpdatesOf(open_->round));
  for (UpdateRow& update : updates) {
    if (update.state != UpdateState::kExpected) continue;
    update.state = UpdateState::kRefused;
    update.reason = why_late_;
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
  FEDGLM_ASSIGN_OR_RETURN(const Cohort cohort,
                          PresentSites(store_, presence_, options_.federation, round, since, options_.min_sites));
  if (cohort.empty()) return absl::OkStatus();
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&] { return store_.OpenRound(round, cohort); }));
  open_ = round;
  why_again_.clear();
  why_late_ = kLate;
  began_ = asked_ = clock_.Monotonic();
  deadline_ = began_ + seconds(options_.round_timeout_seconds);
  LogInfo("round " + std::to_string(round.round) + " of " + std::to_string(options_.rounds) + " begins with " +
          std::to_string(cohort.size()) + " sites");
  NewsForAll();
  return absl::OkStatus();
}

absl::Status RoundMachine::BeginAgain(const std::string& reason) {
  const int64_t now = UnixMilliseconds(clock_.Now());
  const BeganAt since = {open_->started_unix_ms, began_};
  FEDGLM_ASSIGN_OR_RETURN(const Cohort cohort, PresentSites(store_, presence_, options_.federation, *open_, since, 0));
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
  NewsForAll();
  return absl::OkStatus();
}

absl::Status RoundMachine::ExpectAgain(int64_t round, const std::string& update_id) {
  // To try again would fail for ever: the site is asked for it once more.
  MutexLock lock(mutex_);
  // Rolled back meanwhile, which empties the spool, or of a site that was revoked: nobody is to send it.
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<UpdateRow> update, store_.FindUpdate(update_id));
  if (!open_ || open_->round != round || !update || update->state != UpdateState::kAccepted) return absl::OkStatus();
  spool_.Remove(update_id);
  FEDGLM_RETURN_IF_ERROR(store_.ExpectAgain(update_id));
  NewsForAll();
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
  FEDGLM_ASSIGN_OR_RETURN(std::vector<UpdateRow> accepted, store_.UpdatesOf(round.round));
  std::erase_if(accepted, [](const UpdateRow& update) { return update.state != UpdateState::kAccepted; });
  const bool same = std::equal(accepted.begin(), accepted.end(), decided.accepted.begin(), decided.accepted.end(),
                               [](const UpdateRow& now, const UpdateRow& then) { return now.sha256 == then.sha256; });
  if (!same) return absl::OkStatus();  // a site was revoked meanwhile, or the round aborted: decided anew
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
  NewsForAll();
}

}  // namespace fedglm
