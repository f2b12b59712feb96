#include "adapter/training_job.h"

#include <cmath>

#include "adapter/json_fields.h"
#include "base/json.h"

namespace fedglm {
namespace {

template <typename Visitor, typename Job>
void VisitJob(Visitor& visit, Job& job) {
  visit("model", job.model);
  visit("records", job.records);
  visit("adapter", job.adapter);
  visit("output", job.output);
  visit("rank", job.adapter_config.rank);
  visit("alpha", job.adapter_config.alpha);
  visit("use_rslora", job.adapter_config.use_rslora);
  visit("target_modules", job.adapter_config.target_modules);
  visit("adapter_seed", job.adapter_seed);
  visit("base_sha256", job.base_sha256);
  TrainingPlan::Visit(job.plan, visit);
  visit("micro_batch_tokens", job.micro_batch_tokens);
  visit("schedule_steps", job.schedule_steps);
  visit("schedule_offset", job.schedule_offset);
  visit("skip_records", job.skip_records);
  visit("set_aside", job.set_aside);
  visit("threads", job.threads);
  visit("forbid_network", job.forbid_network);
  visit("evaluate_every", job.evaluate_every);
  visit("held_out", job.held_out);
  visit("pretrain_vocabulary", job.pretrain.vocabulary);
  visit("pretrain_layers", job.pretrain.layers);
  visit("pretrain_hidden", job.pretrain.hidden);
  visit("pretrain_feed_forward", job.pretrain.feed_forward);
  visit("pretrain_heads", job.pretrain.heads);
  visit("pretrain_kv_heads", job.pretrain.kv_heads);
  visit("pretrain_context_length", job.pretrain.context_length);
  visit("pretrain_type", job.pretrain.type);
  visit("pretrain_name", job.pretrain.name);
}

constexpr std::pair<JobKind, const char*> kKinds[] = {{JobKind::kTrain, "train"},
                                                      {JobKind::kGradient, "gradient"},
                                                      {JobKind::kEvaluate, "evaluate"},
                                                      {JobKind::kPretrain, "pretrain"}};

absl::Status CheckValues(const TrainingJob& job) {
  const auto bad = [](const std::string& what) { return UsageError("training job: " + what); };
  if (job.micro_batch_tokens < 1) return bad("a batch needs tokens");
  if (job.set_aside < 0 || job.set_aside == 1) return bad("set_aside leaves nothing to train on");
  if (job.adapter_config.rank < 1 || job.adapter_config.rank > 4096) return bad("rank is out of range");
  return absl::OkStatus();
}

}  // namespace

Json ToJson(const TrainingJob& job) {
  JsonFieldWriter writer;
  for (const auto& [kind, name] : kKinds) {
    if (kind == job.kind) writer("kind", std::string(name));
  }
  writer("mode", std::string(UpdateFormName(job.mode)));
  VisitJob(writer, job);
  return writer.json;
}

absl::StatusOr<TrainingJob> ParseTrainingJob(std::string_view line) {
  FEDGLM_ASSIGN_OR_RETURN(JsonFieldReader reader, JsonFieldReader::Parse(line, "training job"));
  std::string kind = "train", mode = "freeze-a";
  reader("kind", kind);
  reader("mode", mode);
  TrainingJob job;
  VisitJob(reader, job);
  FEDGLM_RETURN_IF_ERROR(reader.Finish());
  bool known_kind = false;
  for (const auto& [value, name] : kKinds) {
    if (kind == name) job.kind = value, known_kind = true;
  }
  if (!known_kind) return UsageError("training job: kind '" + kind + "' is unknown");
  FEDGLM_ASSIGN_OR_RETURN(job.mode, ParseUpdateForm(mode));
  FEDGLM_RETURN_IF_ERROR(CheckValues(job));
  return job;
}

Json ToJson(const TrainerEvent& e) {
  Json json = {{"event", e.event}};
  if (e.event == "ready") {
    json["records"] = e.records;
    json["examples"] = e.examples;
  } else if (e.event == "began") {
    json["job"] = e.job;
  } else if (e.event == "restarted") {
  } else if (e.event == "started") {
    json["records"] = e.records;
    json["tokens"] = e.tokens;
  } else if (e.event == "step") {
    json["step"] = e.step;
    json["steps"] = e.steps;
    json["loss"] = e.loss;
    json["tokens_per_second"] = e.tokens_per_second;
  } else if (e.event == "evaluated") {
    json["step"] = e.step;
    json["loss"] = e.loss;
    json["tokens"] = e.tokens;
  } else if (e.event == "done") {
    json["loss"] = e.loss;
    json["examples"] = e.examples;
    json["tokens"] = e.tokens;
    json["tokens_per_second"] = e.tokens_per_second;
    json["seconds"] = e.seconds;
    json["peak_rss_bytes"] = e.peak_rss_bytes;
  } else {
    json["exit_code"] = e.exit_code;
    json["message"] = e.message;
  }
  return json;
}

absl::StatusOr<TrainerEvent> ParseTrainerEvent(std::string_view line) {
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(line, "trainer event"));
  TrainerEvent e;
  FEDGLM_ASSIGN_OR_RETURN(e.event, RequireString(json, "event"));
  FEDGLM_ASSIGN_OR_RETURN(e.job, OptionalInteger(json, "job", 0));
  FEDGLM_ASSIGN_OR_RETURN(e.step, OptionalInteger(json, "step", 0));
  FEDGLM_ASSIGN_OR_RETURN(e.steps, OptionalInteger(json, "steps", 0));
  if (const auto loss = json.find("loss"); loss != json.end() && loss->is_null()) {
    e.loss = std::nan("");
  } else {
    FEDGLM_ASSIGN_OR_RETURN(e.loss, OptionalNumber(json, "loss", 0));
  }
  FEDGLM_ASSIGN_OR_RETURN(e.tokens, OptionalInteger(json, "tokens", 0));
  FEDGLM_ASSIGN_OR_RETURN(e.records, OptionalInteger(json, "records", 0));
  FEDGLM_ASSIGN_OR_RETURN(e.examples, OptionalInteger(json, "examples", 0));
  FEDGLM_ASSIGN_OR_RETURN(e.tokens_per_second, OptionalNumber(json, "tokens_per_second", 0));
  FEDGLM_ASSIGN_OR_RETURN(e.seconds, OptionalNumber(json, "seconds", 0));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t peak, OptionalInteger(json, "peak_rss_bytes", 0));
  e.peak_rss_bytes = static_cast<uint64_t>(peak);
  FEDGLM_ASSIGN_OR_RETURN(const int64_t exit_code, OptionalInteger(json, "exit_code", 0));
  e.exit_code = static_cast<int>(exit_code);
  FEDGLM_ASSIGN_OR_RETURN(e.message, OptionalString(json, "message", ""));
  return e;
}

}  // namespace fedglm
