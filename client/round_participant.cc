#include "client/round_participant.h"

#include <algorithm>
#include <cmath>

#include "adapter/tensors.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"
#include "base/tls.h"
#include "client/privacy.h"
#include "client/pulse.h"
#include "client/rules/setback.h"

namespace fedglm {
namespace {

// Names inside the work folder, which the supervisor knows.
constexpr char kGlobal[] = "global";
constexpr char kResult[] = "result";
constexpr char kCandidate[] = "candidate";
constexpr int64_t kMostRounds = 1 << 20;

// What the aggregator says enters arithmetic here.
absl::Status CheckRound(int64_t round, const char* what) {
  if (round >= 1 && round <= kMostRounds) return absl::OkStatus();
  return FailedError(std::string("the aggregator asks for ") + what + " " + std::to_string(round));
}

absl::StatusOr<TrainingJob> JobOf(const v1::TrainTask& task, UpdateForm mode, const std::string& base_sha256) {
  FEDGLM_RETURN_IF_ERROR(CheckRound(task.round(), "round"));
  FEDGLM_RETURN_IF_ERROR(CheckRound(task.rounds(), "a number of rounds of"));
  TrainingJob job;
  job.kind = mode == UpdateForm::kGradientOfB ? JobKind::kGradient : JobKind::kTrain;
  job.mode = mode;
  job.adapter = kGlobal;
  job.output = kResult;
  job.base_sha256 = base_sha256;
  absl::StatusOr<TrainingPlan> plan = ParseTrainingPlan(task.plan());
  if (!plan.ok()) return FailedError("the aggregator's " + Message(plan.status()));
  job.plan = *std::move(plan);
  job.schedule_steps = task.rounds() * job.plan.steps;
  job.schedule_offset = (task.round() - 1) * job.plan.steps;
  return job;
}

absl::StatusOr<TensorMap> ReadResult(const Adapter& global, const std::filesystem::path& folder, UpdateForm mode) {
  if (mode == UpdateForm::kGradientOfB) {
    FEDGLM_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(folder / "gradient.safetensors", uint64_t{1} << 34));
    return ParseTensors(bytes);
  }
  FEDGLM_ASSIGN_OR_RETURN(const Adapter result, LoadAdapter(folder));
  return MakeUpdate(global, result, mode);
}

}  // namespace

absl::Status VerifyAdapter(const Adapter& adapter, const SiteIdentity& identity, const std::string& base_sha256,
                           int64_t round) {
  if (!adapter.provenance || adapter.provenance->signature.empty()) return RefusedError("the adapter is not signed");
  const Provenance& provenance = *adapter.provenance;
  const absl::StatusOr<std::string> signature = Base64UrlDecode(provenance.signature);
  if (!signature.ok() ||
      !VerifySignature(identity.signing_public_pem, SignedBytes(adapter.config, provenance), *signature).ok()) {
    return RefusedError("the adapter's signature is not the aggregator's");
  }
  if (provenance.weights_sha256 != WeightsSha256(adapter))
    return RefusedError("the adapter's weights are not those that were signed");
  if (provenance.federation != identity.federation) return RefusedError("the adapter is of another federation");
  if (provenance.round != round)
    return RefusedError("the adapter is of round " + std::to_string(provenance.round) + ", not " +
                        std::to_string(round));
  if (provenance.base_sha256 != base_sha256) return RefusedError("the adapter is for another base");
  return absl::OkStatus();
}

InstalledRound RoundParticipant::Resume() {
  const std::filesystem::path folder = rooms_.options.state_dir / "adapter";
  std::error_code ignored;
  if (!std::filesystem::exists(folder, ignored)) return InstalledRound{};
  InstalledRound installed = ReadInstalled(rooms_.options.state_dir).value_or(InstalledRound{});
  absl::StatusOr<Adapter> adapter = LoadAdapter(folder);
  absl::Status status = adapter.status();
  // The folder says which round it is: killed before installed.json was written, that file is of the round before.
  const int64_t round = status.ok() && adapter->provenance ? adapter->provenance->round : installed.round;
  if (status.ok()) status = VerifyAdapter(*adapter, rooms_.identity, rooms_.base_sha256, round);
  if (status.ok() && round != installed.round) {
    installed = {round, Sha256Hex(SerializeAdapter(*adapter))};
    status = WriteInstalled(installed, rooms_.options.state_dir);
  }
  if (status.ok()) {
    running_ = std::make_shared<const Adapter>(*std::move(adapter));
    status = rooms_.install(running_);
  }
  if (status.ok()) {
    running_round_ = installed.round;
    return installed;
  }
  running_ = nullptr;
  LogWarning(folder.string() + ": " + Message(status) + "; it will be fetched again");
  return InstalledRound{};
}

absl::Status RoundParticipant::Decline(const v1::ArtifactReference& reference, int64_t round,
                                       const absl::Status& reason, bool trains_from_it) {
  standing_ = {reference.sha256(), trains_from_it, "adapter"};
  rooms_.aggregator.ForgetArtifactsBut(reference.sha256());  // it may be trained from
  const std::string what = "the adapter of round " + std::to_string(round) + " is not used";
  LogError(what + ", the one before goes on: " + Message(reason));
  const absl::Status told = rooms_.aggregator.ReportRejection(round, reference.sha256(), Message(reason));
  if (!told.ok()) LogWarning("the aggregator does not know of it yet: " + Message(told));
  return FailedError(what);
}

absl::Status RoundParticipant::CheckNotDeclined(const v1::ArtifactReference& reference, int64_t round) const {
  if (reference.sha256().empty() || reference.sha256() != standing_.declined_sha256) return absl::OkStatus();
  return FailedError("the aggregator still offers the adapter of round " + std::to_string(round) +
                     " that was declined");
}

absl::StatusOr<Adapter> RoundParticipant::FetchVerified(const v1::ArtifactReference& reference, int64_t round) {
  if (!standing_.trains_from_declined) FEDGLM_RETURN_IF_ERROR(CheckNotDeclined(reference, round));
  FEDGLM_ASSIGN_OR_RETURN(const std::string bytes, rooms_.aggregator.Download(reference));
  absl::StatusOr<Adapter> adapter = ParseAdapter(bytes);
  const absl::Status trusted =
      adapter.ok() ? VerifyAdapter(*adapter, rooms_.identity, rooms_.base_sha256, round)
                   : RefusedError("what the aggregator sends is no adapter: " + Message(adapter.status()));
  if (!trusted.ok()) return Decline(reference, round, trusted);
  return adapter;
}

absl::Status RoundParticipant::MakeUpdateOf(const v1::TrainTask& task) {
  FEDGLM_ASSIGN_OR_RETURN(const UpdateForm mode, ParseUpdateForm(task.mode()));
  FEDGLM_ASSIGN_OR_RETURN(TrainingJob job, JobOf(task, mode, rooms_.base_sha256));
  FEDGLM_ASSIGN_OR_RETURN(const Adapter global, FetchVerified(task.adapter(), task.round() - 1));
  const std::filesystem::path work = rooms_.options.state_dir / "work";
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(work, 0700));
  FEDGLM_RETURN_IF_ERROR(SaveAdapter(global, work / kGlobal));

  // Without it the site begins its records anew.
  const TrainingProgress progress = ReadProgress(rooms_.options.state_dir).value_or(TrainingProgress{});
  job.skip_records = progress.ExamplesBefore(task.round());
  Pulse pulse(rooms_.aggregator, task.round(), rooms_.stopped);
  const absl::StatusOr<TrainerEvent> trained = rooms_.trainer.Run(
      job, [&](const TrainerEvent& event) { pulse.OnEvent(event); }, [&] { return pulse.Stops(); });
  if (pulse.unwanted()) {
    LogInfo("round " + std::to_string(task.round()) + " goes on without this site: its training is ended");
    return absl::OkStatus();
  }
  FEDGLM_ASSIGN_OR_RETURN(const TrainerEvent done, trained);

  FEDGLM_ASSIGN_OR_RETURN(TensorMap update, ReadResult(global, work / kResult, mode));
  const double norm = ClipUpdate(rooms_.options.privacy, update);
  // Nothing but a finite update in the adapter's own shape leaves the site.
  if (const absl::Status status = CheckUpdate(update, global, mode); !status.ok() || !std::isfinite(done.loss)) {
    return FailedError("round " + std::to_string(task.round()) +
                       ": the update is not sent: " + (status.ok() ? "its loss is not finite" : Message(status)));
  }
  OutboxEntry entry;
  entry.update_id = task.update_id();
  entry.round = task.round();
  entry.base_sha256 = rooms_.base_sha256;
  entry.adapter_sha256 = task.adapter().sha256();
  entry.mode = task.mode();
  entry.examples = std::clamp<int64_t>(done.examples, 1, std::max<int64_t>(pulse.usable_examples(), 1));
  entry.training_loss = done.loss;
  FEDGLM_RETURN_IF_ERROR(
      WriteProgress({task.round(), job.skip_records, job.skip_records + done.examples}, rooms_.options.state_dir));
  FEDGLM_RETURN_IF_ERROR(rooms_.outbox.Put(entry, SerializeTensors(update)));
  std::error_code ignored;
  std::filesystem::remove_all(work / kResult, ignored);
  char text[128];
  std::snprintf(text, sizeof(text), "round %lld: trained %lld examples in %.1f s, loss %.4f, update norm %.4g",
                static_cast<long long>(task.round()), static_cast<long long>(done.examples), done.seconds, done.loss,
                norm);
  LogInfo(text);
  return absl::OkStatus();
}

absl::Status RoundParticipant::Train(const v1::TrainTask& task) {
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<OutboxEntry> waiting, rooms_.outbox.Find(task.update_id()));
  if (!waiting) {
    standing_.setback = standing_.declined_sha256.empty() ? "" : "adapter";
    const absl::Status made = MakeUpdateOf(task);
    if (!made.ok() && standing_.setback.empty()) standing_.setback = RuleOf(SetbackOf(made)).word;
    FEDGLM_RETURN_IF_ERROR(made);
  }
  return SendWaiting();
}

absl::Status RoundParticipant::SendWaiting() {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<OutboxEntry> waiting, rooms_.outbox.Waiting());
  for (const OutboxEntry& entry : waiting) {
    const std::string round = "round " + std::to_string(entry.round);
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t received, rooms_.aggregator.ReceivedBytes(entry.update_id));
    const absl::StatusOr<std::string> payload = rooms_.outbox.ReadPayload(entry);
    if (!payload.ok()) {
      // It never leaves. While its round goes on the aggregator asks for it again, and to train again gives the same.
      LogWarning(round + ": the update is lost (" + Message(payload.status()) + ")");
      FEDGLM_RETURN_IF_ERROR(rooms_.outbox.Remove(entry.update_id));
      continue;
    }
    FEDGLM_ASSIGN_OR_RETURN(const v1::UploadReceipt receipt, rooms_.aggregator.Upload(entry, *payload, received));
    if (receipt.accepted()) {
      LogInfo(round + ": the update is in, " + std::to_string(entry.bytes) + " bytes");
    } else {
      LogWarning(round + ": the update was refused: " + receipt.reason());
    }
    FEDGLM_RETURN_IF_ERROR(rooms_.outbox.Remove(entry.update_id));
  }
  return absl::OkStatus();
}

absl::StatusOr<MeasuredLoss> RoundParticipant::Evaluate(const Adapter* adapter, int64_t round) {
  TrainingJob job;
  job.kind = JobKind::kEvaluate;
  job.base_sha256 = rooms_.base_sha256;
  if (adapter != nullptr) {
    FEDGLM_RETURN_IF_ERROR(SaveAdapter(*adapter, rooms_.options.state_dir / "work" / kCandidate));
    job.adapter = kCandidate;
  }
  MeasuredLoss measured;
  const auto keep = [&](const TrainerEvent& event) {
    if (event.event == "evaluated") measured = {event.loss, event.tokens};
  };
  Pulse pulse(rooms_.aggregator, round, rooms_.stopped);
  const auto stops = [&] { return pulse.Stops() && !pulse.unwanted(); };  // it is wanted here
  FEDGLM_RETURN_IF_ERROR(rooms_.trainer.Run(job, keep, stops).status());
  return measured;
}

absl::StatusOr<MeasuredLoss> RoundParticipant::Baseline(const Adapter& candidate, int64_t round, int64_t tokens) {
  const bool goes_on = round > running_round_ && !candidate.provenance->contributors.empty();
  const bool is_base = running_ == nullptr || (!goes_on && running_round_ >= 0);
  std::optional<MeasuredLoss>& known = is_base ? base_loss_ : running_loss_;
  if (!known || known->tokens != tokens) {
    FEDGLM_ASSIGN_OR_RETURN(known, Evaluate(is_base ? nullptr : running_.get(), round));
  }
  return *known;
}

absl::Status RoundParticipant::NotEvaluated(const v1::InstallTask& task, const absl::Status& reason) {
  if (reason.code() == absl::StatusCode::kCancelled) return reason;
  standing_.setback = "held-out";
  if (not_evaluated_ != task.adapter().sha256()) {
    const absl::Status told = rooms_.aggregator.ReportFailedEvaluation(task.round());
    if (told.ok()) {
      not_evaluated_ = task.adapter().sha256();
    } else {
      LogWarning("the aggregator does not know of the failed evaluation yet: " + Message(told));
    }
  }
  // Failed whatever the reason's kind is: a site that lacks its held-out records goes on answering.
  return FailedError(
      "the adapter of round " + std::to_string(task.round()) +
      " waits, the one before goes on: the evaluation on the held-out records failed: " + Message(reason));
}

void RoundParticipant::ReportLoss(int64_t round) {
  const absl::Status told = rooms_.aggregator.ReportEvaluation(round, measured_loss_.loss, measured_loss_.tokens);
  if (!told.ok()) LogWarning("the federation does not know of this loss: " + Message(told));
}

absl::StatusOr<InstalledRound> RoundParticipant::Install(const v1::InstallTask& task) {
  FEDGLM_RETURN_IF_ERROR(CheckNotDeclined(task.adapter(), task.round()));
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, FetchVerified(task.adapter(), task.round()));
  // Before the evaluation, in which what the adapter is to blame for and what the site is to blame for would look
  // alike.
  if (const absl::Status fits = rooms_.fits(adapter); !fits.ok()) return Decline(task.adapter(), task.round(), fits);
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(rooms_.options.state_dir / "work", 0700));
  if (measured_ != task.adapter().sha256()) {
    const absl::StatusOr<MeasuredLoss> measured = Evaluate(&adapter, task.round());
    if (!measured.ok()) return NotEvaluated(task, measured.status());
    measured_loss_ = *measured;
    measured_ = task.adapter().sha256();
    char text[96];
    std::snprintf(text, sizeof(text), "round %lld: held-out loss %.4f over %lld answer tokens",
                  static_cast<long long>(task.round()), measured_loss_.loss,
                  static_cast<long long>(measured_loss_.tokens));
    LogInfo(text);
    if (std::isfinite(measured_loss_.loss)) ReportLoss(task.round());
  }
  if (!std::isfinite(measured_loss_.loss)) {
    return Decline(task.adapter(), task.round(), RefusedError("the loss on the held-out records is not finite"));
  }
  const absl::StatusOr<MeasuredLoss> baseline = Baseline(adapter, task.round(), measured_loss_.tokens);
  if (!baseline.ok()) return NotEvaluated(task, baseline.status());
  if (!Accepts(measured_loss_, *baseline, rooms_.options.max_regression)) {
    char text[96];
    std::snprintf(text, sizeof(text), "the held-out loss is %.4f, and was %.4f without it", measured_loss_.loss,
                  baseline->loss);
    return Decline(task.adapter(), task.round(), RefusedError(text), /*trains_from_it=*/true);
  }
  // Into the engine first: what it does not take must not lie in the folder that the next life starts from.
  const auto candidate = std::make_shared<const Adapter>(std::move(adapter));
  FEDGLM_RETURN_IF_ERROR(rooms_.install(candidate));
  FEDGLM_RETURN_IF_ERROR(SaveAdapter(*candidate, rooms_.options.state_dir / "adapter"));
  const InstalledRound installed = {task.round(), task.adapter().sha256()};
  FEDGLM_RETURN_IF_ERROR(WriteInstalled(installed, rooms_.options.state_dir));
  rooms_.aggregator.ForgetArtifactsBut(installed.sha256);
  running_ = candidate;
  running_round_ = task.round();
  running_loss_ = measured_loss_;
  measured_.clear();
  standing_ = {};
  LogInfo("round " + std::to_string(task.round()) + ": its adapter now answers");
  return installed;
}

}  // namespace fedglm
