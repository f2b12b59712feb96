// Jobs for the golden model in a folder of their own, run in this process.
#pragma once

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/training/tiny_models.h"
#include "training/trainer.h"

namespace fedglm {

class JobTest : public testing::Test {
 protected:
  void SetUp() override {
    GOLDEN_OR_SKIP(model, kGoldenModel);
    model_ = model;
  }

  std::filesystem::path Path(const std::string& name) const { return folder_.path() / name; }
  std::filesystem::path WriteRecords(const std::string& name, const std::string& text) const {
    EXPECT_TRUE(WriteFileAtomically(Path(name), text).ok());
    return Path(name);
  }
  // A short job over a dozen records; SGD without clipping, so that a step is the gradient.
  TrainingJob SgdJob(const std::string& output) const {
    TrainingJob job;
    job.model = model_;
    job.records = {WriteRecords("records.jsonl", SomeRecords(12))};
    job.output = Path(output);
    job.plan.optimizer = "sgd";
    job.plan.learning_rate = 0.1;
    job.plan.clip_norm = 0;
    job.plan.steps = 1;
    job.plan.sequence_length = 64;
    job.plan.batch_tokens = job.micro_batch_tokens = 64;
    job.threads = 2;
    job.adapter_config.rank = 4;
    return job;
  }
  TrainingJob AdamJob(const std::string& output) const {
    TrainingJob job = SgdJob(output);
    job.plan.optimizer = "adamw";
    job.plan.learning_rate = 5e-3;
    job.plan.clip_norm = 1.0;
    job.plan.steps = 30;
    job.plan.batch_tokens = 256;
    return job;
  }

  // The job's events, "done" last; a test fails if the job does.
  static std::vector<TrainerEvent> Run(const TrainingJob& job) {
    std::vector<TrainerEvent> events;
    const absl::Status status = RunTrainingJob(job, [&](const TrainerEvent& event) { events.push_back(event); });
    EXPECT_TRUE(status.ok()) << Message(status);
    if (events.empty()) events.emplace_back();
    return events;
  }
  static absl::Status Fail(const TrainingJob& job) {
    return RunTrainingJob(job, [](const TrainerEvent&) {});
  }
  static double FirstOf(const std::vector<TrainerEvent>& events, const std::string& name) {
    for (const TrainerEvent& event : events) {
      if (event.event == name) return event.loss;
    }
    ADD_FAILURE() << "no event " << name;
    return 0;
  }
  double LossWith(const std::filesystem::path& adapter, const std::filesystem::path& records) const {
    TrainingJob job = SgdJob("");
    job.kind = JobKind::kEvaluate;
    job.records = {records};
    job.adapter = adapter;
    job.output.clear();
    return FirstOf(Run(job), "evaluated");
  }
  static Adapter Loaded(const std::filesystem::path& folder) {
    absl::StatusOr<Adapter> adapter = LoadAdapter(folder);
    EXPECT_TRUE(adapter.ok()) << Message(adapter.status());
    return adapter.ok() ? *std::move(adapter) : Adapter();
  }
  static std::string WeightBytes(const std::filesystem::path& folder) {
    const absl::StatusOr<std::string> bytes = ReadFile(folder / "adapter_model.safetensors");
    EXPECT_TRUE(bytes.ok()) << Message(bytes.status());
    return bytes.ok() ? *bytes : "";
  }
  // ‖x − y‖ / ‖y‖
  static double Apart(const TensorMap& x, const TensorMap& y) {
    TensorMap difference = x;
    EXPECT_TRUE(AddScaled(-1, y, difference).ok());
    return NormOf(difference) / NormOf(y);
  }

  TemporaryDirectory folder_ = *TemporaryDirectory::Make();
  std::filesystem::path model_;
};

}  // namespace fedglm
