#include "training/trainer.h"

#include <dlfcn.h>
#include <torch/torch.h>

#include <cmath>
#include <optional>

#include "adapter/tensors.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "inference/gguf/lora_gguf.h"
#include "inference/gguf/new_adapter.h"
#include "training/base_model.h"
#include "training/data/batches.h"
#include "training/model/adapted_model.h"
#include "training/optimization.h"
#include "training/pretrainer.h"

namespace fedglm {
namespace {

// LibTorch's own threads, and those of OpenBLAS, which it does not set. Without OpenBLAS it is 35 times slower.
void SetThreads(int threads) {
  at::set_num_threads(threads);
  using SetThreadsFunction = void (*)(int);
  const auto set_blas = reinterpret_cast<SetThreadsFunction>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
  if (set_blas != nullptr) {
    set_blas(threads);
  } else {
    LogWarning("LibTorch runs without OpenBLAS and will be slow: install libopenblas0-pthread");
  }
}

absl::StatusOr<std::optional<Adapter>> StartingAdapter(const TrainingJob& job, const BaseModel& base) {
  if (!job.adapter.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, LoadAdapterFor(job.adapter, *base.file, job.base_sha256));
    return std::optional<Adapter>(std::move(adapter));
  }
  if (job.kind == JobKind::kEvaluate) return std::optional<Adapter>();
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter,
                          MakeNewAdapter(base.hyperparameters, job.base_sha256, job.adapter_config, job.adapter_seed));
  return std::optional<Adapter>(std::move(adapter));
}

absl::Status SaveResult(const TrainingJob& job, const AdaptedModel& model) {
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, model.ToAdapter());
  Provenance provenance;  // whatever it started from, this is a new one, trained here
  provenance.base_sha256 = job.base_sha256;
  provenance.mode = UpdateFormName(job.mode);
  adapter.provenance = provenance;
  return SaveAdapter(adapter, job.output);
}

// One gradient of the mean loss over all records.
absl::Status ComputeGradient(const TrainingJob& job, const GgufFile& file, AdaptedModel& model, const ExampleSet& set,
                             const EventSink& on_event) {
  TrainingSummary summary;
  const Stopwatch watch;
  const std::vector<Batch> batches = AllBatches(set, job.micro_batch_tokens);
  summary.loss = AccumulateGradients(model, batches) / static_cast<double>(set.CountedTokens());
  for (const Batch& batch : batches) summary.tokens += static_cast<int64_t>(batch.tokens.size());
  summary.examples = static_cast<int64_t>(set.examples.size());
  summary.seconds = watch.Seconds();
  FEDGLM_RETURN_IF_ERROR(file.CheckIntact());
  FEDGLM_ASSIGN_OR_RETURN(const TensorMap gradients, model.Gradients());
  if (!std::isfinite(summary.loss) || !std::isfinite(NormOf(gradients))) {
    return FailedError("the loss or its gradient is not finite");
  }
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(job.output, 0700));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(job.output / "gradient.safetensors", SerializeTensors(gradients), 0600));
  on_event(DoneEvent(summary));
  return absl::OkStatus();
}

absl::Status RunAdapterJob(const TrainingJob& job, ThreadPool& pool, const EventSink& on_event) {
  FEDGLM_ASSIGN_OR_RETURN(const BaseModel base, BaseModel::Open(job.model));
  FEDGLM_ASSIGN_OR_RETURN(ExampleSet set, base.Load(job.records, job.plan.sequence_length));
  KeepPart(set, job.set_aside, job.kind == JobKind::kEvaluate);
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<Adapter> adapter, StartingAdapter(job, base));
  FEDGLM_ASSIGN_OR_RETURN(
      const std::unique_ptr<AdaptedModel> model,
      AdaptedModel::Make(
          base.file, base.hyperparameters, adapter ? &*adapter : nullptr,
          {.form = job.mode, .arithmetic = job.plan.arithmetic == "exact" ? Arithmetic::kExact : Arithmetic::kServed},
          pool));
  std::optional<ExampleSet> held_out;
  if (!job.held_out.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(held_out, base.Load(job.held_out, job.plan.sequence_length));
  }
  if (set.cut > 0) {
    LogWarning(std::to_string(set.cut) + " of " + std::to_string(set.records) + " records are longer than " +
               std::to_string(job.plan.sequence_length) + " tokens and were cut");
  }
  if (set.dropped > 0) {
    LogWarning(std::to_string(set.dropped) + " of " + std::to_string(set.records) + " records have no answer within " +
               std::to_string(job.plan.sequence_length) + " tokens and were left out");
  }
  TrainerEvent started;
  started.event = "started";
  started.records = static_cast<int64_t>(set.examples.size());
  started.tokens = set.CountedTokens();
  on_event(started);

  switch (job.kind) {
    case JobKind::kGradient:
      return ComputeGradient(job, *base.file, *model, set, on_event);
    case JobKind::kEvaluate: {
      const Stopwatch watch;
      TrainingSummary summary;
      summary.loss = ReportEvaluation(job, *model, set, 0, on_event).loss;
      FEDGLM_RETURN_IF_ERROR(base.file->CheckIntact());
      summary.examples = static_cast<int64_t>(set.examples.size());
      summary.seconds = watch.Seconds();
      on_event(DoneEvent(summary));
      return absl::OkStatus();
    }
    default:
      break;
  }
  FEDGLM_ASSIGN_OR_RETURN(const TrainingSummary summary, Optimize(job, *model, set, held_out, on_event));
  FEDGLM_RETURN_IF_ERROR(base.file->CheckIntact());  // nothing is written that was computed from a file cut meanwhile
  FEDGLM_RETURN_IF_ERROR(SaveResult(job, *model));
  on_event(DoneEvent(summary));
  return absl::OkStatus();
}

}  // namespace

absl::Status RunTrainingJob(const TrainingJob& job, const EventSink& on_event) {
  try {
    const int threads = job.threads > 0 ? job.threads : UsablePhysicalCores();
    SetThreads(threads);
    if (job.kind == JobKind::kPretrain) return Pretrain(job, on_event);
    ThreadPool pool(threads);
    return RunAdapterJob(job, pool, on_event);
  } catch (const c10::Error& error) {
    return FailedError(std::string("LibTorch: ") + error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return FailedError("out of memory: lower micro_batch_tokens");
  } catch (const std::exception& error) {
    return FailedError(error.what());
  }
}

}  // namespace fedglm
