#include "adapter/training_job.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/json.h"
#include "tests/adapter/unusual_plan.h"

namespace fedglm {
namespace {

// Every field other than its default.
TrainingJob FullJob() {
  TrainingJob job;
  job.kind = JobKind::kPretrain;
  job.model = "/models/base.gguf";
  job.records = {"/data/a.jsonl", "/data/b c.jsonl"};
  job.adapter = "/state/adapter";
  job.output = "/state/out";
  job.mode = UpdateForm::kFactors;
  job.adapter_config.rank = 3;
  job.adapter_config.alpha = 0.1;
  job.adapter_config.use_rslora = true;
  job.adapter_config.target_modules = {"q_proj", "v_proj"};
  job.adapter_seed = UINT64_MAX;
  job.base_sha256 = "abc";
  job.plan = UnusualPlan::Make();
  job.plan.learning_rate = 1.0 / 3;
  job.plan.seed = (uint64_t{1} << 63) + 1;
  job.micro_batch_tokens = 13;
  job.schedule_steps = 16;
  job.schedule_offset = 17;
  job.skip_records = 18;
  job.set_aside = 10;
  job.threads = 2;
  job.forbid_network = false;
  job.evaluate_every = 19;
  job.held_out = {"/data/held.jsonl"};
  job.pretrain = {20, 21, 22, 23, 24, 25, 26, "Q4_0", "tiny"};
  return job;
}

Json FullJson() { return ToJson(FullJob()); }

std::string WithValue(const char* key, const Json& value) {
  Json json = FullJson();
  json[key] = value;
  return DumpJson(json);
}

TEST(TrainingJob, EveryFieldComesBack) {
  const std::string line = DumpJson(FullJson());
  EXPECT_EQ(line.find('\n'), std::string::npos) << "a job is one line";
  const absl::StatusOr<TrainingJob> job = ParseTrainingJob(line);
  ASSERT_TRUE(job.ok()) << Message(job.status());
  EXPECT_EQ(DumpJson(ToJson(*job)), line);

  const TrainingJob expected = FullJob();
  EXPECT_EQ(job->kind, expected.kind);
  EXPECT_EQ(job->mode, expected.mode);
  EXPECT_EQ(job->records, expected.records);
  EXPECT_EQ(job->adapter_config, expected.adapter_config);
  EXPECT_EQ(job->adapter_seed, expected.adapter_seed);
  EXPECT_EQ(job->plan.seed, expected.plan.seed);
  EXPECT_EQ(job->plan.learning_rate, expected.plan.learning_rate) << "doubles come back exactly";
  EXPECT_EQ(job->plan.epsilon, expected.plan.epsilon);
  EXPECT_EQ(job->forbid_network, expected.forbid_network);
  EXPECT_EQ(job->held_out, expected.held_out);
  EXPECT_EQ(job->pretrain.context_length, 26);
  EXPECT_EQ(job->pretrain.name, "tiny");
}

// A field that is written and not read, or the other way round, would show here.
TEST(TrainingJob, EveryKeyThatIsWrittenIsReadAndTyped) {
  const std::string defaults = DumpJson(ToJson(TrainingJob()));
  const Json default_json = *ParseJson(defaults, "job"), full = FullJson();
  EXPECT_EQ(default_json.size(), full.size());
  for (const auto& [key, value] : full.items()) {
    EXPECT_NE(value, default_json.at(key)) << key << " has its default in FullJob: this test would not see it";
    Json one = Json::object();
    one[key] = value;
    const absl::StatusOr<TrainingJob> job = ParseTrainingJob(DumpJson(one));
    ASSERT_TRUE(job.ok()) << key << ": " << Message(job.status());
    EXPECT_EQ(ToJson(*job).at(key), value) << key;
    const absl::Status status = ParseTrainingJob(WithValue(key.c_str(), Json::object())).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << key;
    EXPECT_NE(Message(status).find("\"" + key + "\" has a bad value"), std::string::npos) << Message(status);
  }
}

TEST(TrainingJob, WhatIsNotGivenHasItsDefault) {
  const absl::StatusOr<TrainingJob> job = ParseTrainingJob("{}");
  ASSERT_TRUE(job.ok()) << Message(job.status());
  EXPECT_EQ(DumpJson(ToJson(*job)), DumpJson(ToJson(TrainingJob())));
  EXPECT_TRUE(job->forbid_network);
  EXPECT_EQ(job->kind, JobKind::kTrain);
  EXPECT_EQ(job->mode, UpdateForm::kChangeOfB);
}

TEST(TrainingJob, AllKindsAndModesHaveNames) {
  for (const JobKind kind : {JobKind::kTrain, JobKind::kGradient, JobKind::kEvaluate, JobKind::kPretrain}) {
    for (const UpdateForm mode :
         {UpdateForm::kChangeOfB, UpdateForm::kChangeOfFactors, UpdateForm::kFactors, UpdateForm::kGradientOfB}) {
      TrainingJob job;
      job.kind = kind;
      job.mode = mode;
      const absl::StatusOr<TrainingJob> parsed = ParseTrainingJob(DumpJson(ToJson(job)));
      ASSERT_TRUE(parsed.ok()) << Message(parsed.status());
      EXPECT_EQ(parsed->kind, kind);
      EXPECT_EQ(parsed->mode, mode);
    }
  }
}

TEST(TrainingJob, AnUnknownKeyIsRefusedByName) {
  for (const char* key : {"setps", "Steps", "pretrain", "adapter_config", ""}) {
    const absl::Status status = ParseTrainingJob(WithValue(key, 1)).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
    EXPECT_NE(Message(status).find("unknown key \"" + std::string(key) + "\""), std::string::npos) << Message(status);
  }
}

TEST(TrainingJob, BadValuesAreRefused) {
  const std::pair<const char*, Json> values[] = {{"kind", "tran"},
                                                 {"mode", "fedavg"},
                                                 {"optimizer", "lion"},
                                                 {"schedule", "linear"},
                                                 {"steps", -1},
                                                 {"steps", 1.5},
                                                 {"steps", "10"},
                                                 {"steps", uint64_t{1} << 63},
                                                 {"steps", int64_t{1} << 40},
                                                 {"rank", 0},
                                                 {"rank", 5000},
                                                 {"batch_tokens", 0},
                                                 {"micro_batch_tokens", 0},
                                                 {"sequence_length", 7},
                                                 {"learning_rate", -1e-3},
                                                 {"learning_rate", "1e-3"},
                                                 {"weight_decay", -1},
                                                 {"clip_norm", -1},
                                                 {"beta1", 1.0},
                                                 {"beta1", -0.1},
                                                 {"beta2", 1.0},
                                                 {"epsilon", 0},
                                                 {"seed", -1},
                                                 {"seed", 0.5},
                                                 {"threads", -1},
                                                 {"threads", 5000},
                                                 {"forbid_network", 0},
                                                 {"forbid_network", nullptr},
                                                 {"records", "a.jsonl"},
                                                 {"records", Json::array({1})},
                                                 {"held_out", nullptr},
                                                 {"target_modules", "q_proj"},
                                                 {"model", 1},
                                                 {"alpha", nullptr}};
  for (const auto& [key, value] : values) {
    EXPECT_EQ(ExitCodeOf(ParseTrainingJob(WithValue(key, value)).status()), ExitCode::kUsage) << key << " " << value;
  }
}

TEST(TrainingJob, WhatIsNoObjectIsRefused) {
  for (const char* line : {"", "7", "[]", "null", "{", "{\"steps\":1,\"steps\":2}", "{\"learning_rate\":1e999}"}) {
    EXPECT_EQ(ExitCodeOf(ParseTrainingJob(line).status()), ExitCode::kUsage) << line;
  }
}

TrainerEvent FullEvent(const std::string& event) {
  TrainerEvent e;
  e.event = event;
  e.step = 3, e.steps = 10, e.loss = 1.0 / 3, e.tokens = 500, e.records = 20, e.examples = 40;
  e.tokens_per_second = 123.5, e.seconds = 4.25, e.peak_rss_bytes = uint64_t{5} << 30, e.exit_code = 6;
  e.message = "records.jsonl:3: \"text\" is missing";
  return e;
}

TEST(TrainerEvent, EveryKindCarriesWhatItsReaderNeeds) {
  const std::pair<const char*, std::vector<const char*>> kinds[] = {
      {"ready", {"records", "examples"}},
      {"started", {"records", "tokens"}},
      {"step", {"step", "steps", "loss", "tokens_per_second"}},
      {"evaluated", {"step", "loss", "tokens"}},
      {"done", {"loss", "examples", "tokens", "tokens_per_second", "seconds", "peak_rss_bytes"}},
      {"failed", {"exit_code", "message"}}};
  for (const auto& [kind, keys] : kinds) {
    const Json json = ToJson(FullEvent(kind));
    EXPECT_EQ(json.size(), keys.size() + 1) << kind;
    for (const char* key : keys) EXPECT_TRUE(json.contains(key)) << kind << " " << key;
    const std::string line = DumpJson(json);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    const absl::StatusOr<TrainerEvent> event = ParseTrainerEvent(line);
    ASSERT_TRUE(event.ok()) << Message(event.status());
    EXPECT_EQ(event->event, kind);
    EXPECT_EQ(DumpJson(ToJson(*event)), line);
  }
  const TrainerEvent done = *ParseTrainerEvent(DumpJson(ToJson(FullEvent("done"))));
  EXPECT_EQ(done.loss, 1.0 / 3);
  EXPECT_EQ(done.examples, 40);
  EXPECT_EQ(done.peak_rss_bytes, uint64_t{5} << 30);
  const TrainerEvent failed = *ParseTrainerEvent(DumpJson(ToJson(FullEvent("failed"))));
  EXPECT_EQ(failed.exit_code, 6);
  EXPECT_EQ(failed.message, FullEvent("").message);
}

// A training that diverged must not look like a perfect one.
TEST(TrainerEvent, ALossThatIsNotFiniteIsNotReadAsZero) {
  for (const double loss : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    TrainerEvent event = FullEvent("step");
    event.loss = loss;
    const absl::StatusOr<TrainerEvent> read = ParseTrainerEvent(DumpJson(ToJson(event)));
    ASSERT_TRUE(read.ok()) << Message(read.status());
    EXPECT_FALSE(std::isfinite(read->loss));
  }
}

TEST(TrainerEvent, MalformedLinesAreErrors) {
  for (const char* line : {"", "Segmentation fault", "[]", "{}", R"({"event":1})", R"({"event":"step","step":"3"})",
                           R"({"event":"step","loss":"low"})", R"({"event":"failed","message":7})"}) {
    EXPECT_FALSE(ParseTrainerEvent(line).ok()) << line;
  }
}

}  // namespace
}  // namespace fedglm
