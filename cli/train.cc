// fedglm train: a LoRA adapter from records. The work is done by fedglm-trainer, in a process without network.
#include <cmath>
#include <cstdio>

#include "base/configuration.h"
#include "base/process.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "client/trainer_process.h"

namespace fedglm::cli {
namespace {

struct TrainOptions {
  std::string model, adapter, out, mode = "average";
  std::vector<std::string> data, held_out;
  TrainingJob job;
  bool json = false;
};

void AddOptimizerFlags(CLI::App* app, TrainingJob& job) {
  app->add_option("--steps", job.steps, "optimizer steps")->capture_default_str()->check(CLI::PositiveNumber);
  app->add_option("--batch-tokens", job.batch_tokens, "tokens of one step")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app->add_option("--micro-batch-tokens", job.micro_batch_tokens, "tokens in memory at once")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app->add_option("--sequence-length", job.sequence_length)->capture_default_str()->check(CLI::Range(8, 1 << 20));
  app->add_option("--learning-rate", job.learning_rate)->capture_default_str()->check(Between(0, 1e3));
  app->add_option("--weight-decay", job.weight_decay)->capture_default_str()->check(Between(0, 1e3));
  app->add_option("--warmup-steps", job.warmup_steps)->capture_default_str()->check(CLI::NonNegativeNumber);
  app->add_option("--schedule", job.schedule)->capture_default_str()->check(CLI::IsMember({"constant", "cosine"}));
  app->add_option("--optimizer", job.optimizer)->capture_default_str()->check(CLI::IsMember({"adamw", "sgd"}));
  app->add_option("--clip-norm", job.clip_norm, "of the gradient; 0: none")
      ->capture_default_str()
      ->check(Between(0, 1e9));
  app->add_option("--seed", job.seed, "order of the records")->capture_default_str();
  app->add_option("-t,--threads", job.threads)->check(CLI::Range(0, 1024));
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
  Progress progress(label, job.steps, json);
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
  FEDGLM_ASSIGN_OR_RETURN(const TrainerEvent done, RunTrainer(job, false, {on_event, StopRequested}));
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
  FEDGLM_ASSIGN_OR_RETURN(job.mode, ParseAggregationMode(options.mode));
  FEDGLM_ASSIGN_OR_RETURN(job.base_sha256, ModelSha256(options.model));
  return RunJob(job, "train", options.json);
}

}  // namespace

void AddTrain(CommandLine& line) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* app =
      line.Add("train", "adapt a model to records: writes a LoRA adapter", [options] { return RunTrain(*options); });
  app->add_option("-m,--model", options->model, "GGUF file")->required();
  app->add_option("--data", options->data, "JSON Lines files")->required();
  app->add_option("--out", options->out, "adapter folder to write")->required();
  app->add_option("--adapter", options->adapter, "start from this adapter");
  app->add_option("--held-out", options->held_out, "JSON Lines files to evaluate on at the end");
  app->add_option("--rank", options->job.adapter_config.rank)->capture_default_str()->check(CLI::Range(1, 1024));
  app->add_option("--alpha", options->job.adapter_config.alpha)->capture_default_str()->check(Between(1e-6, 1e6));
  app->add_option("--target", options->job.adapter_config.target_modules, "q_proj, …; default: every linear layer");
  app->add_option("--mode", options->mode, "average: train A and B; freeze-a: train B only")
      ->capture_default_str()
      ->check(CLI::IsMember({"average", "freeze-a"}));
  AddOptimizerFlags(app, options->job);
  app->add_flag("--json", options->json);
}

void AddPretrain(CommandLine& line) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* app = line.Add("pretrain", "make a small glm4 model from scratch: tokenizer and all weights", [options] {
    TrainingJob& job = options->job;
    job.kind = JobKind::kPretrain;
    job.records.assign(options->data.begin(), options->data.end());
    job.held_out.assign(options->held_out.begin(), options->held_out.end());
    job.output = options->out;
    return RunJob(job, "pretrain", options->json);
  });
  PretrainShape& shape = options->job.pretrain;
  app->add_option("--data", options->data, "JSON Lines files")->required();
  app->add_option("--held-out", options->held_out, "JSON Lines files to evaluate on at the end");
  app->add_option("--out", options->out, "GGUF file to write")->required();
  app->add_option("--vocabulary", shape.vocabulary)->capture_default_str()->check(CLI::Range(300, 200000));
  app->add_option("--layers", shape.layers)->capture_default_str()->check(CLI::Range(1, 200));
  app->add_option("--hidden", shape.hidden)->capture_default_str()->check(CLI::Range(32, 16384));
  app->add_option("--feed-forward", shape.feed_forward)->capture_default_str()->check(CLI::Range(32, 65536));
  app->add_option("--heads", shape.heads)->capture_default_str()->check(CLI::Range(1, 256));
  app->add_option("--kv-heads", shape.kv_heads)->capture_default_str()->check(CLI::Range(1, 256));
  app->add_option("--type", shape.type, "block type of the matrices")->capture_default_str();
  AddOptimizerFlags(app, options->job);
  app->add_flag("--json", options->json);
}

}  // namespace fedglm::cli
