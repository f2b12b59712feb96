#include "client/round_participant.h"

#include <cmath>

#include "adapter/tensors.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"
#include "base/tls.h"
#include "client/privacy.h"

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
  if (status.ok()) status = rooms_.install(std::make_shared<const Adapter>(*std::move(adapter)));
  if (status.ok()) return installed;
  LogWarning(folder.string() + ": " + Message(status) + "; it will be fetched again");
  return InstalledRound{};
}

absl::Status RoundParticipant::Reject(const v1::ArtifactReference& reference, int64_t round,
                                      const absl::Status& reason) {
  rejected_ = reference.sha256();
  const std::string what = "the adapter of round " + std::to_string(round) + " is not used";
  LogError(what + ", the one before goes on: " + Message(reason));
  const absl::Status told = rooms_.aggregator.ReportRejection(round, reference.sha256(), Message(reason));
  if (!told.ok()) LogWarning("the aggregator does not know of it yet: " + Message(told));
  return FailedError(what);
}

absl::StatusOr<Adapter> RoundParticipant::FetchVerified(const v1::ArtifactReference& reference, int64_t round) {
  if (!reference.sha256().empty() && reference.sha256() == rejected_) {
    return FailedError("the aggregator still offers the adapter of round " + std::to_string(round) +
                       " that was rejected");
  }
  FEDGLM_ASSIGN_OR_RETURN(const std::string bytes, rooms_.aggregator.Download(reference));
  absl::StatusOr<Adapter> adapter = ParseAdapter(bytes);
  const absl::Status trusted =
      adapter.ok() ? VerifyAdapter(*adapter, rooms_.identity, rooms_.base_sha256, round)
                   : RefusedError("what the aggregator sends is no adapter: " + Message(adapter.status()));
  if (!trusted.ok()) return Reject(reference, round, trusted);
  return adapter;
}

absl::Status RoundParticipant::MakeUpdateOf(const v1::TrainTask& task) {
  FEDGLM_ASSIGN_OR_RETURN(const UpdateForm mode, ParseUpdateForm(task.mode()));
  FEDGLM_ASSIGN_OR_RETURN(TrainingJob job, JobOf(task, mode, rooms_.base_sha256));
  FEDGLM_ASSIGN_OR_RETURN(const Adapter global, FetchVerified(task.adapter(), task.round() - 1));
  const std::filesystem::path work = rooms_.options.state_dir / "work";
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(work, 0700));
  FEDGLM_RETURN_IF_ERROR(SaveAdapter(global, work / kGlobal));

  FEDGLM_ASSIGN_OR_RETURN(TrainingProgress progress, ReadProgress(rooms_.options.state_dir));
  job.skip_records = progress.ExamplesBefore(task.round());
  FEDGLM_ASSIGN_OR_RETURN(const TrainerEvent done, rooms_.trainer.Run(job, {}, rooms_.stopped));

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
  entry.examples = rooms_.trainer.training_records();
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
  if (!waiting) FEDGLM_RETURN_IF_ERROR(MakeUpdateOf(task));
  return SendWaiting();
}

absl::Status RoundParticipant::SendWaiting() {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<OutboxEntry> waiting, rooms_.outbox.Waiting());
  for (const OutboxEntry& entry : waiting) {
    const std::string round = "round " + std::to_string(entry.round);
    const absl::StatusOr<std::string> payload = rooms_.outbox.ReadPayload(entry);
    if (!payload.ok()) {
      // It never leaves. While its round goes on the aggregator asks for it again, and to train again gives the same.
      LogWarning(round + ": the update is lost (" + Message(payload.status()) + ")");
      FEDGLM_RETURN_IF_ERROR(rooms_.outbox.Remove(entry.update_id));
      continue;
    }
    FEDGLM_ASSIGN_OR_RETURN(const v1::UploadReceipt receipt, rooms_.aggregator.Upload(entry, *payload));
    if (receipt.accepted()) {
      LogInfo(round + ": the update is in, " + std::to_string(entry.bytes) + " bytes");
    } else {
      LogWarning(round + ": the update was refused: " + receipt.reason());
    }
    FEDGLM_RETURN_IF_ERROR(rooms_.outbox.Remove(entry.update_id));
  }
  return absl::OkStatus();
}

absl::StatusOr<TrainerEvent> RoundParticipant::Evaluate(const Adapter& adapter) {
  FEDGLM_RETURN_IF_ERROR(SaveAdapter(adapter, rooms_.options.state_dir / "work" / kCandidate));
  TrainingJob job;
  job.kind = JobKind::kEvaluate;
  job.adapter = kCandidate;
  job.base_sha256 = rooms_.base_sha256;
  TrainerEvent evaluated;
  const auto keep = [&](const TrainerEvent& event) {
    if (event.event == "evaluated") evaluated = event;
  };
  FEDGLM_RETURN_IF_ERROR(rooms_.trainer.Run(job, keep, rooms_.stopped).status());
  return evaluated;
}

absl::Status RoundParticipant::NotEvaluated(const v1::InstallTask& task, const absl::Status& reason) {
  if (reason.code() == absl::StatusCode::kCancelled) return reason;
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

absl::StatusOr<InstalledRound> RoundParticipant::Install(const v1::InstallTask& task) {
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, FetchVerified(task.adapter(), task.round()));
  // Before the evaluation, in which what the adapter is to blame for and what the site is to blame for would look
  // alike.
  if (const absl::Status fits = rooms_.fits(adapter); !fits.ok()) return Reject(task.adapter(), task.round(), fits);
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(rooms_.options.state_dir / "work", 0700));
  if (rooms_.trainer.held_out_records() > 0) {
    const absl::StatusOr<TrainerEvent> evaluated = Evaluate(adapter);
    if (!evaluated.ok()) return NotEvaluated(task, evaluated.status());
    if (!std::isfinite(evaluated->loss)) {
      return Reject(task.adapter(), task.round(), RefusedError("the loss on the held-out records is not finite"));
    }
    char text[96];
    std::snprintf(text, sizeof(text), "round %lld: held-out loss %.4f over %lld answer tokens",
                  static_cast<long long>(task.round()), evaluated->loss, static_cast<long long>(evaluated->tokens));
    LogInfo(text);
    FEDGLM_RETURN_IF_ERROR(rooms_.aggregator.ReportEvaluation(task.round(), evaluated->loss, evaluated->tokens));
  }
  // Into the engine first: what it does not take must not lie in the folder that the next life starts from.
  const auto candidate = std::make_shared<const Adapter>(std::move(adapter));
  FEDGLM_RETURN_IF_ERROR(rooms_.install(candidate));
  FEDGLM_RETURN_IF_ERROR(SaveAdapter(*candidate, rooms_.options.state_dir / "adapter"));
  const InstalledRound installed = {task.round(), task.adapter().sha256()};
  FEDGLM_RETURN_IF_ERROR(WriteInstalled(installed, rooms_.options.state_dir));
  rooms_.aggregator.ForgetArtifactsBut(installed.sha256);
  LogInfo("round " + std::to_string(task.round()) + ": its adapter now answers");
  return installed;
}

}  // namespace fedglm
