// fedglm train: a LoRA adapter from records. The work is done by fedglm-trainer, in a process without network.
#include <cmath>
#include <cstdio>

#include "base/configuration.h"
#include "base/json.h"
#include "base/process.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/plan_flags.h"
#include "client/worker_process.h"

namespace fedglm::cli {
namespace {

struct TrainOptions {
  std::string model, adapter, out, mode = "average";
  std::vector<std::string> data, held_out;
  TrainingJob job;
  bool json = false;
};

void AddJobFlags(Command app, TrainingJob& job) {
  AddPlanFlags(app, job.plan);
  app.Add("--micro-batch-tokens", job.micro_batch_tokens, "tokens in memory at once").ShowDefault().Positive();
  app.Add("-t,--threads", job.threads).Between(0, 1024);
}

Json Summary(const TrainerEvent& done, const std::optional<TrainerEvent>& evaluated) {
  Json result = {{"version", 1},
                 {"loss", done.loss},
                 {"examples", done.examples},
                 {"seconds", done.seconds},
                 {"tokens_per_second", done.tokens_per_second},
                 {"peak_rss_bytes", done.peak_rss_bytes}};
  if (evaluated) result["held_out"] = {{"loss", evaluated->loss}, {"tokens", evaluated->tokens}};
  return result;
}

// Runs the job with a progress bar and prints its summary.
absl::Status RunJob(const TrainingJob& job, const char* label, bool json) {
  Progress progress(label, job.plan.steps, json);
  std::optional<TrainerEvent> evaluated;
  const auto on_event = [&](const TrainerEvent& event) {
    char note[96];
    if (event.event == "step") {
      std::snprintf(note, sizeof(note), "loss %.4f, %.0f tokens/s", event.loss, event.tokens_per_second);
      progress.Update(event.step, note);
    } else if (event.event == "evaluated") {
      evaluated = event;
    }
  };
  FEDGLM_ASSIGN_OR_RETURN(const TrainerEvent done, RunWorkerProcess(job, false, {on_event, StopRequested}));
  progress.Finish();
  if (json) {
    std::printf("%s\n", DumpJson(Summary(done, evaluated)).c_str());
  } else {
    std::printf("loss %.4f over %lld examples in %.1f s, peak memory %s\n", done.loss,
                static_cast<long long>(done.examples), done.seconds, FormatByteSize(done.peak_rss_bytes).c_str());
    if (evaluated)
      std::printf("held-out loss %.4f over %lld answer tokens\n", evaluated->loss,
                  static_cast<long long>(evaluated->tokens));
  }
  return absl::OkStatus();
}

absl::Status RunTrain(TrainOptions options) {
  TrainingJob& job = options.job;
  job.kind = JobKind::kTrain;
  job.model = options.model;
  job.adapter = options.adapter;
  job.output = options.out;
  job.records.assign(options.data.begin(), options.data.end());
  job.held_out.assign(options.held_out.begin(), options.held_out.end());
  FEDGLM_RETURN_IF_ERROR(CheckReplaceable(job.output.has_filename() ? job.output : job.output.parent_path()));
  FEDGLM_ASSIGN_OR_RETURN(job.mode, ParseUpdateForm(options.mode));
  FEDGLM_ASSIGN_OR_RETURN(job.base_sha256, ModelSha256(options.model));
  return RunJob(job, "train", options.json);
}

}  // namespace

void AddTrain(CommandLine& line) {
  auto options = std::make_shared<TrainOptions>();
  Command app =
      line.Add("train", "adapt a model to records: writes a LoRA adapter", [options] { return RunTrain(*options); });
  app.Add("-m,--model", options->model, "GGUF file").Required();
  app.Add("--data", options->data, "JSON Lines files").Required();
  app.Add("--out", options->out, "adapter folder to write").Required();
  app.Add("--adapter", options->adapter, "start from this adapter");
  app.Add("--held-out", options->held_out, "JSON Lines files to evaluate on at the end");
  app.Add("--rank", options->job.adapter_config.rank).ShowDefault().Between(1, 1024);
  app.Add("--alpha", options->job.adapter_config.alpha).ShowDefault().NumberBetween(1e-6, 1e6);
  app.Add("--target", options->job.adapter_config.target_modules, "q_proj, …; default: every linear layer");
  app.Add("--mode", options->mode, "average: train A and B; freeze-a: train B only")
      .ShowDefault()
      .OneOf({"average", "freeze-a"});
  AddJobFlags(app, options->job);
  app.AddFlag("--json", options->json);
}

void AddPretrain(CommandLine& line) {
  auto options = std::make_shared<TrainOptions>();
  Command app = line.Add("pretrain", "make a small glm4 model from scratch: tokenizer and all weights", [options] {
    TrainingJob& job = options->job;
    job.kind = JobKind::kPretrain;
    job.records.assign(options->data.begin(), options->data.end());
    job.held_out.assign(options->held_out.begin(), options->held_out.end());
    job.output = options->out;
    return RunJob(job, "pretrain", options->json);
  });
  PretrainShape& shape = options->job.pretrain;
  app.Add("--data", options->data, "JSON Lines files").Required();
  app.Add("--held-out", options->held_out, "JSON Lines files to evaluate on at the end");
  app.Add("--out", options->out, "GGUF file to write").Required();
  app.Add("--vocabulary", shape.vocabulary).ShowDefault().Between(300, 200000);
  app.Add("--layers", shape.layers).ShowDefault().Between(1, 200);
  app.Add("--hidden", shape.hidden).ShowDefault().Between(32, 16384);
  app.Add("--feed-forward", shape.feed_forward).ShowDefault().Between(32, 65536);
  app.Add("--heads", shape.heads).ShowDefault().Between(1, 256);
  app.Add("--kv-heads", shape.kv_heads).ShowDefault().Between(1, 256);
  app.Add("--type", shape.type, "block type of the matrices").ShowDefault();
  AddJobFlags(app, options->job);
  app.AddFlag("--json", options->json);
}

}  // namespace fedglm::cli
