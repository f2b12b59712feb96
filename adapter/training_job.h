// The one job that fedglm-trainer or fedglm-evaluator is given on stdin (one line of JSON), and the events it answers
// (one line of JSON each, adapter/event_stream.h). This is the whole contract between the process with the network and
// the process with the records.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "adapter/training_plan.h"
#include "base/json_forward.h"
#include "base/status.h"

namespace fedglm {

enum class JobKind {
  kTrain,     // steps of an optimizer from `adapter` (or a new one) → an adapter folder in `output`
  kGradient,  // one mean gradient over the records → a safetensors file gradient.safetensors in `output`
  kEvaluate,  // loss on the records, nothing written
  kPretrain,  // all weights of a new small model → a GGUF in `output`
};

// The model that kPretrain makes from nothing.
struct PretrainShape {
  int64_t vocabulary = 2048;  // of the tokenizer trained on the records, control tokens included
  int64_t layers = 4;
  int64_t hidden = 256;
  int64_t feed_forward = 640;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t context_length = 1024;
  std::string type = "Q8_0";  // block type of the matrices in the file
  std::string name = "glm4-small";
};

struct TrainingJob {
  JobKind kind = JobKind::kTrain;
  std::filesystem::path model;                 // GGUF; kPretrain has none
  std::vector<std::filesystem::path> records;  // JSON Lines
  std::filesystem::path adapter;               // to start from; empty: a new one from `adapter_seed`
  std::filesystem::path output;                // a folder (kPretrain: a file)
  UpdateForm mode = UpdateForm::kChangeOfB;    // which factors are trained, and what is sent
  AdapterConfig adapter_config;                // of a new adapter
  uint64_t adapter_seed = 1;
  std::string base_sha256;  // if known; written to the provenance and checked

  TrainingPlan plan;                 // its keys stand in the job's JSON beside the job's own
  int64_t micro_batch_tokens = 512;  // tokens in memory at once; a step takes as many of them as it needs
  int64_t schedule_steps = 0;        // of plan.schedule; 0: plan.steps
  int64_t schedule_offset = 0;       // steps already done in earlier rounds
  int64_t skip_records = 0;          // where in the shuffled order to begin (rounds go on where they stopped)
  int64_t set_aside = 0;             // every so many-th example is not trained on, and alone evaluated; 0: none is
  int threads = 0;                   // 0: physical cores
  bool forbid_network = true;
  int64_t evaluate_every = 0;
  std::vector<std::filesystem::path> held_out;  // evaluated at the end (and every evaluate_every steps)
  PretrainShape pretrain;
};

Json ToJson(const TrainingJob& job);
absl::StatusOr<TrainingJob> ParseTrainingJob(std::string_view line);  // UsageError for unknown keys or bad values

// {"event":"ready","records":…,"examples":…}: the supervisor's, before the first job
// {"event":"began","job":…}: the supervisor's, before each job's own; {"event":"restarted"}: it was killed meanwhile
// {"event":"started","records":…,"tokens":…}   {"event":"step","step":…,"steps":…,"loss":…,"tokens_per_second":…}
// {"event":"evaluated","loss":…,"tokens":…}    {"event":"done","loss":…,"examples":…,"seconds":…,"peak_rss_bytes":…}
// {"event":"failed","exit_code":…,"message":…}: the last line, and the process ends with that exit code.
struct TrainerEvent {
  std::string event;
  int64_t job = 0;
  int64_t step = 0, steps = 0;
  double loss = 0;     // mean over answer tokens, natural logarithm
  int64_t tokens = 0;  // answer tokens that the loss is a mean of
  int64_t records = 0, examples = 0;
  double tokens_per_second = 0, seconds = 0;
  uint64_t peak_rss_bytes = 0;
  int exit_code = 0;
  std::string message;
};
// JSON has no word for a loss that is not finite: it is written as null, and read as NaN, not as zero.
Json ToJson(const TrainerEvent& event);
absl::StatusOr<TrainerEvent> ParseTrainerEvent(std::string_view line);

using EventSink = std::function<void(const TrainerEvent&)>;

}  // namespace fedglm
