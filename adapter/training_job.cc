#include "adapter/training_job.h"

#include <cmath>
#include <functional>
#include <map>

namespace fedglm {
namespace {

// One place that names every field: writing and reading walk the same list.
struct Writer {
  Json json = Json::object();
  void operator()(const char* key, const std::string& value) { json[key] = value; }
  void operator()(const char* key, const std::filesystem::path& value) { json[key] = value.string(); }
  void operator()(const char* key, bool value) { json[key] = value; }
  void operator()(const char* key, int value) { json[key] = value; }
  void operator()(const char* key, int64_t value) { json[key] = value; }
  void operator()(const char* key, uint64_t value) { json[key] = value; }
  void operator()(const char* key, double value) { json[key] = value; }
  void operator()(const char* key, const std::vector<std::filesystem::path>& values) {
    json[key] = Json::array();
    for (const auto& value : values) json[key].push_back(value.string());
  }
  void operator()(const char* key, const std::vector<std::string>& values) { json[key] = values; }
};

struct Reader {
  const Json& json;
  absl::Status status;
  size_t known = 0;  // keys that were there and are ours

  template <typename T>
  void operator()(const char* key, T& value) {
    const auto member = json.find(key);
    if (member == json.end() || !status.ok()) return;
    ++known;
    if (!Take(*member, value)) status = UsageError(std::string("training job: \"") + key + "\" has a bad value");
  }

  static bool Take(const Json& json, std::string& value) {
    if (!json.is_string()) return false;
    value = json.get<std::string>();
    return true;
  }
  static bool Take(const Json& json, std::filesystem::path& value) {
    if (!json.is_string()) return false;
    value = json.get<std::string>();
    return true;
  }
  static bool Take(const Json& json, bool& value) {
    if (!json.is_boolean()) return false;
    value = json.get<bool>();
    return true;
  }
  static bool Take(const Json& json, int& value) {
    if (!json.is_number_integer() || json.get<int64_t>() < 0 || json.get<int64_t>() > 4096) return false;
    value = json.get<int>();
    return true;
  }
  static bool Take(const Json& json, int64_t& value) {
    if (!json.is_number_integer()) return false;
    value = json.get<int64_t>();
    return value >= 0 && value < (int64_t{1} << 40);
  }
  static bool Take(const Json& json, uint64_t& value) {
    if (!json.is_number_unsigned()) return false;
    value = json.get<uint64_t>();
    return true;
  }
  static bool Take(const Json& json, double& value) {
    if (!json.is_number()) return false;
    value = json.get<double>();
    return std::isfinite(value);
  }
  template <typename T>
  static bool Take(const Json& json, std::vector<T>& values) {
    if (!json.is_array()) return false;
    values.clear();
    for (const Json& element : json) {
      if (!element.is_string()) return false;
      values.emplace_back(element.get<std::string>());
    }
    return true;
  }
};

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
  visit("optimizer", job.optimizer);
  visit("steps", job.steps);
  visit("batch_tokens", job.batch_tokens);
  visit("micro_batch_tokens", job.micro_batch_tokens);
  visit("sequence_length", job.sequence_length);
  visit("learning_rate", job.learning_rate);
  visit("weight_decay", job.weight_decay);
  visit("beta1", job.beta1);
  visit("beta2", job.beta2);
  visit("epsilon", job.epsilon);
  visit("warmup_steps", job.warmup_steps);
  visit("schedule", job.schedule);
  visit("schedule_steps", job.schedule_steps);
  visit("schedule_offset", job.schedule_offset);
  visit("clip_norm", job.clip_norm);
  visit("seed", job.seed);
  visit("skip_records", job.skip_records);
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
  if (job.optimizer != "adamw" && job.optimizer != "sgd") return bad("optimizer '" + job.optimizer + "' is unknown");
  if (job.schedule != "constant" && job.schedule != "cosine") return bad("schedule '" + job.schedule + "' is unknown");
  if (job.batch_tokens < 1 || job.micro_batch_tokens < 1) return bad("a batch needs tokens");
  if (job.sequence_length < 8) return bad("sequence_length is below 8");
  if (job.adapter_config.rank < 1 || job.adapter_config.rank > 4096) return bad("rank is out of range");
  if (job.learning_rate < 0 || job.weight_decay < 0 || job.clip_norm < 0) return bad("a rate is negative");
  if (job.beta1 < 0 || job.beta1 >= 1 || job.beta2 < 0 || job.beta2 >= 1 || job.epsilon <= 0)
    return bad("AdamW's constants are out of range");
  return absl::OkStatus();
}

}  // namespace

Json ToJson(const TrainingJob& job) {
  Writer writer;
  for (const auto& [kind, name] : kKinds) {
    if (kind == job.kind) writer("kind", std::string(name));
  }
  writer("mode", std::string(AggregationModeName(job.mode)));
  VisitJob(writer, job);
  return writer.json;
}

absl::StatusOr<TrainingJob> ParseTrainingJob(std::string_view line) {
  absl::StatusOr<Json> json = ParseJson(line, "training job");
  if (!json.ok()) return UsageError(Message(json.status()));
  if (!json->is_object()) return UsageError("training job: a JSON object is expected");
  Reader reader{*json};
  std::string kind = "train", mode = "freeze-a";
  reader("kind", kind);
  reader("mode", mode);
  TrainingJob job;
  VisitJob(reader, job);
  FEDGLM_RETURN_IF_ERROR(reader.status);
  if (reader.known != json->size()) {
    Writer writer;
    VisitJob(writer, job);
    for (const auto& [key, value] : json->items()) {
      if (key != "kind" && key != "mode" && !writer.json.contains(key))
        return UsageError("training job: unknown key \"" + key + "\"");
    }
  }
  bool known_kind = false;
  for (const auto& [value, name] : kKinds) {
    if (kind == name) job.kind = value, known_kind = true;
  }
  if (!known_kind) return UsageError("training job: kind '" + kind + "' is unknown");
  FEDGLM_ASSIGN_OR_RETURN(job.mode, ParseAggregationMode(mode));
  FEDGLM_RETURN_IF_ERROR(CheckValues(job));
  return job;
}

Json ToJson(const TrainerEvent& e) {
  Json json = {{"event", e.event}};
  if (e.event == "started") {
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

absl::StatusOr<double> RequireLoss(const Json& json) {
  if (const auto loss = json.find("loss"); loss != json.end() && loss->is_null()) return std::nan("");
  return RequireNumber(json, "loss");
}

absl::StatusOr<TrainerEvent> ParseTrainerEvent(std::string_view line) {
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(line, "trainer event"));
  TrainerEvent e;
  FEDGLM_ASSIGN_OR_RETURN(e.event, RequireString(json, "event"));
  FEDGLM_ASSIGN_OR_RETURN(e.step, OptionalInteger(json, "step", 0));
  FEDGLM_ASSIGN_OR_RETURN(e.steps, OptionalInteger(json, "steps", 0));
  if (json.contains("loss")) {
    FEDGLM_ASSIGN_OR_RETURN(e.loss, RequireLoss(json));
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
