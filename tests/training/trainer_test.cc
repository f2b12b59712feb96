#include "training/trainer.h"

#include <algorithm>

#include "tests/training/job_runner.h"
#include "training/base_model.h"

namespace fedglm {
namespace {

class Trainer : public JobTest {};

TEST_F(Trainer, LowersTheLossAndTheAdapterIsWhatLoweredIt) {
  TrainingJob job = AdamJob("adapter");
  job.held_out = {job.records[0]};
  job.evaluate_every = 10;
  job.base_sha256 = "aa";
  const double before = LossWith("", job.records[0]);
  const std::vector<TrainerEvent> events = Run(job);
  std::vector<double> steps, evaluations;
  for (const TrainerEvent& event : events) {
    if (event.event == "step") steps.push_back(event.loss);
    if (event.event == "evaluated") evaluations.push_back(event.loss);
  }
  EXPECT_EQ(events.front().event, "started");
  EXPECT_EQ(events.front().records, 12);
  EXPECT_EQ(events.back().event, "done");
  EXPECT_GE(events.back().examples, 30);
  EXPECT_GT(events.back().peak_rss_bytes, uint64_t{1} << 20);
  ASSERT_EQ(steps.size(), 30u);
  ASSERT_EQ(evaluations.size(), 3u);
  std::printf("  loss %.3f before, %.3f after %zu steps\n", before, evaluations.back(), steps.size());
  EXPECT_LT(evaluations.back(), 0.8 * before);
  EXPECT_LT(evaluations[2], evaluations[0]);
  // What was saved is what was evaluated.
  EXPECT_NEAR(LossWith(job.output, job.records[0]), evaluations.back(), 1e-6);
  EXPECT_EQ(Loaded(job.output).provenance->base_sha256, "aa");
}

TEST_F(Trainer, TheSameSeedGivesTheSameBytes) {
  TrainingJob job = AdamJob("one");
  job.plan.steps = 5;
  Run(job);
  job.output = Path("two");
  Run(job);
  EXPECT_EQ(WeightBytes(Path("one")), WeightBytes(Path("two")));
  job.output = Path("other-order");
  job.plan.seed = 2;
  Run(job);
  EXPECT_NE(WeightBytes(Path("one")), WeightBytes(Path("other-order")));
  job.output = Path("other-adapter");
  job.plan.seed = 1, job.adapter_seed = 2;
  Run(job);
  EXPECT_NE(Loaded(Path("one")).modules.begin()->second.a, Loaded(Path("other-adapter")).modules.begin()->second.a);
}

TEST_F(Trainer, SkippingRecordsGoesOnInTheSameOrder) {
  TrainingJob whole = SgdJob("whole");
  whole.plan.steps = 6;
  const int64_t seen = Run(whole).back().examples;
  TrainingJob begin = whole;
  begin.output = Path("begin");
  begin.plan.steps = 3;
  const int64_t seen_at_half = Run(begin).back().examples;
  ASSERT_GT(seen_at_half, 3);
  ASSERT_GT(seen, 12);  // into the second epoch
  TrainingJob end = begin;
  end.output = Path("end");
  end.adapter = begin.output;
  end.skip_records = seen_at_half;
  EXPECT_EQ(seen_at_half + Run(end).back().examples, seen);
  EXPECT_EQ(WeightBytes(Path("whole")), WeightBytes(Path("end")));
  end.skip_records = 0;
  end.output = Path("again");
  Run(end);
  EXPECT_NE(WeightBytes(Path("whole")), WeightBytes(Path("again")));
}

TEST_F(Trainer, FreezeALeavesAAsItWas) {
  TrainingJob job = AdamJob("adapter");
  job.plan.steps = 3;
  job.plan.weight_decay = 0.1;
  job.adapter = GoldenPath(kGoldenLora);
  const Adapter before = Loaded(job.adapter);
  Run(job);
  const Adapter after = Loaded(job.output);
  ASSERT_EQ(after.modules.size(), before.modules.size());
  for (const auto& [name, pair] : after.modules) {
    const LoraPair& old = before.modules.at(name);
    ASSERT_EQ(pair.a.values.size(), old.a.values.size());
    EXPECT_EQ(std::memcmp(pair.a.values.data(), old.a.values.data(), old.a.values.size() * sizeof(float)), 0) << name;
    EXPECT_NE(pair.b, old.b) << name;
  }
  job.mode = UpdateForm::kChangeOfFactors;
  Run(job);
  for (const auto& [name, pair] : Loaded(job.output).modules) EXPECT_NE(pair.a, before.modules.at(name).a) << name;
}

TEST_F(Trainer, AnAdapterOfAnotherBaseIsRefused) {
  TrainingJob job = SgdJob("first");
  job.base_sha256 = "aaaa";
  Run(job);
  TrainingJob next = job;
  next.adapter = job.output;
  next.output = Path("second");
  Run(next);
  next.base_sha256 = "bbbb";
  next.output = Path("third");
  const absl::Status status = Fail(next);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile) << Message(status);
  EXPECT_FALSE(std::filesystem::exists(next.output));
}

TEST_F(Trainer, AnAdapterOfAnotherShapeIsRefused) {
  ASSERT_TRUE(WriteTinyModel(Path("llama.gguf"), {}, 1).ok());
  TrainingJob job = SgdJob("adapter");
  job.model = Path("llama.gguf");
  job.adapter = GoldenPath(kGoldenLora);
  EXPECT_EQ(ExitCodeOf(Fail(job)), ExitCode::kBadInputFile);
}

TEST_F(Trainer, OnlyTheWantedLayersAreAdapted) {
  TrainingJob job = SgdJob("adapter");
  job.adapter_config.target_modules = {"q_proj", "down_proj"};
  Run(job);
  EXPECT_EQ(Loaded(job.output).modules.size(), 4u);
  job.adapter_config.target_modules = {"gate_proj"};  // llama's
  EXPECT_EQ(ExitCodeOf(Fail(job)), ExitCode::kUsage);
}

TEST_F(Trainer, AGradientIsTheStepThatSgdTakes) {
  for (const UpdateForm mode : {UpdateForm::kChangeOfB, UpdateForm::kChangeOfFactors}) {
    TrainingJob job = SgdJob("adapter");
    job.mode = mode;
    job.adapter = GoldenPath(kGoldenLora);
    const BaseModel base = *BaseModel::Open(model_);
    const ExampleSet set = *base.Load(job.records, job.plan.sequence_length);
    job.plan.batch_tokens = 0;  // all records
    for (const Example& example : set.examples) job.plan.batch_tokens += static_cast<int64_t>(example.tokens.size());
    const double loss = FirstOf(Run(job), "step");
    const TensorMap update = *MakeUpdate(Loaded(job.adapter), Loaded(job.output), mode);

    job.kind = JobKind::kGradient;
    job.output = Path("gradient");
    job.micro_batch_tokens = 30;
    EXPECT_NEAR(Run(job).back().loss, loss, 1e-5 * loss);
    const absl::StatusOr<TensorMap> gradient = ParseTensors(*ReadFile(Path("gradient") / "gradient.safetensors"));
    ASSERT_TRUE(gradient.ok()) << Message(gradient.status());
    ASSERT_TRUE(CheckUpdate(*gradient, Loaded(job.adapter), mode).ok());
    TensorMap step = *gradient;
    for (auto& [name, tensor] : step) {
      for (float& value : tensor.values) value *= -static_cast<float>(job.plan.learning_rate);
    }
    EXPECT_LT(Apart(update, step), 1e-4) << UpdateFormName(mode);
  }
}

TEST_F(Trainer, ALossThatExplodesIsAnErrorAndNotAnAdapter) {
  for (const int64_t steps : {1, 3}) {  // after the last step no loss tells of it
    TrainingJob job = SgdJob("adapter");
    job.adapter = GoldenPath(kGoldenLora);
    job.plan.learning_rate = 1e42;
    job.plan.steps = steps;
    EXPECT_EQ(ExitCodeOf(Fail(job)), ExitCode::kFailed) << steps;
    EXPECT_FALSE(std::filesystem::exists(job.output));
  }
}

TEST_F(Trainer, AFolderThatIsNoAdapterIsNotReplaced) {
  TrainingJob job = SgdJob("mine");
  ASSERT_TRUE(MakeDirectories(job.output).ok());
  ASSERT_TRUE(WriteFileAtomically(job.output / "thesis.txt", "years").ok());
  EXPECT_EQ(ExitCodeOf(Fail(job)), ExitCode::kFailed);
  EXPECT_EQ(*ReadFile(job.output / "thesis.txt"), "years");
}

TEST_F(Trainer, BadInputIsNamedAndChangesNothing) {
  TrainingJob job = SgdJob("adapter");
  Run(job);
  const std::string before = WeightBytes(job.output);
  const auto expect = [&](const char* what, ExitCode code, const auto& change) {
    TrainingJob bad = job;
    change(bad);
    const absl::Status status = Fail(bad);
    EXPECT_EQ(ExitCodeOf(status), code) << what << ": " << Message(status);
    EXPECT_EQ(Message(status).find('\n'), std::string::npos) << what;
  };
  expect("no model", ExitCode::kBadInputFile, [](TrainingJob& j) { j.model = "/nonexistent.gguf"; });
  expect("not a model", ExitCode::kBadInputFile, [](TrainingJob& j) { j.model = j.records[0]; });
  expect("no records", ExitCode::kBadInputFile, [](TrainingJob& j) { j.records = {"/nonexistent.jsonl"}; });
  expect("empty records", ExitCode::kBadInputFile, [&](TrainingJob& j) { j.records = {WriteRecords("empty", "")}; });
  expect("not JSON", ExitCode::kBadInputFile, [&](TrainingJob& j) { j.records = {WriteRecords("bad", "hello\n")}; });
  expect("bad held-out", ExitCode::kBadInputFile, [&](TrainingJob& j) { j.held_out = {WriteRecords("bad", "{}\n")}; });
  expect("no adapter", ExitCode::kBadInputFile, [](TrainingJob& j) { j.adapter = "/nonexistent"; });
  EXPECT_EQ(WeightBytes(job.output), before);
}

}  // namespace
}  // namespace fedglm
