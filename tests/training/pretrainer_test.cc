#include "training/pretrainer.h"

#include "inference/engine/engine.h"
#include "tests/training/job_runner.h"
#include "training/data/records.h"

namespace fedglm {
namespace {

class Pretrainer : public JobTest {
 protected:
  TrainingJob Job(const std::string& output) const {
    TrainingJob job = AdamJob(output);
    job.kind = JobKind::kPretrain;
    job.model.clear();
    job.plan.steps = 40;
    job.pretrain = {.vocabulary = 320,
                    .layers = 2,
                    .hidden = 64,
                    .feed_forward = 96,
                    .heads = 4,
                    .kv_heads = 2,
                    .context_length = 128,
                    .type = "Q8_0",
                    .name = "from-nothing"};
    return job;
  }
  // Over all tokens of the job's records, by the engine.
  static double EngineLoss(Engine& engine, const TrainingJob& job) {
    const ExampleSet set =
        *LoadExamples(job.records, engine.tokenizer(), engine.chat_template(), job.plan.sequence_length);
    double sum = 0;
    int64_t tokens = 0;
    for (const Example& example : set.examples) {
      const auto loss = engine.SequenceLoss(example.tokens, std::vector<bool>(example.tokens.size(), true));
      EXPECT_TRUE(loss.ok()) << Message(loss.status());
      if (!loss.ok()) return 0;
      sum += loss->sum;
      tokens += loss->tokens;
    }
    return sum / static_cast<double>(tokens);
  }
};

TEST_F(Pretrainer, MakesAModelThatTheEngineRunsAndThatHasLearned) {
  TrainingJob untrained = Job("untrained.gguf"), job = Job("trained.gguf");
  untrained.plan.learning_rate = 0;
  untrained.plan.steps = 1;
  Run(untrained);
  const std::vector<TrainerEvent> events = Run(job);
  const auto before = Engine::Open(untrained.output, {}), after = Engine::Open(job.output, {});
  ASSERT_TRUE(before.ok() && after.ok()) << Message(after.status());
  const Hyperparameters& h = (*after)->hyperparameters();
  EXPECT_EQ(h.vocabulary, 320);
  EXPECT_EQ(h.name, "from-nothing");
  EXPECT_EQ(h.kv_heads, 2);
  EXPECT_TRUE(h.tied_embeddings && h.qkv_bias);
  const double loss_before = EngineLoss(**before, job), loss_after = EngineLoss(**after, job);
  std::printf("  engine's loss %.3f untrained, %.3f after %ld steps\n", loss_before, loss_after, job.plan.steps);
  EXPECT_NEAR(loss_before, std::log(320.0), 1.0);
  EXPECT_LT(loss_after, 0.75 * loss_before);
  EXPECT_LT(events[events.size() - 2].loss, FirstOf(events, "step"));
  GenerationRequest request;
  request.prompt = (*after)->tokenizer().Encode("nodule in the", {});
  request.max_tokens = 4;
  EXPECT_TRUE((*after)->Generate(request, nullptr).ok());
  // And it is a base that an adapter can be trained on.
  TrainingJob adapt = AdamJob("adapter");
  adapt.model = job.output;
  adapt.plan.steps = 2;
  EXPECT_EQ(Run(adapt).back().event, "done");
}

TEST_F(Pretrainer, TheSameSeedGivesTheSameFile) {
  TrainingJob job = Job("one.gguf");
  job.plan.steps = 2;
  Run(job);
  job.output = Path("two.gguf");
  Run(job);
  EXPECT_EQ(*ReadFile(Path("one.gguf")), *ReadFile(Path("two.gguf")));
  job.plan.seed = 7;
  Run(job);
  EXPECT_NE(*ReadFile(Path("one.gguf")), *ReadFile(Path("two.gguf")));
}

TEST_F(Pretrainer, AShapeThatCannotBeIsAUsageError) {
  const auto expect = [&](const auto& change) {
    TrainingJob job = Job("model.gguf");
    change(job.pretrain);
    const absl::Status status = Fail(job);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << Message(status);
    EXPECT_FALSE(std::filesystem::exists(job.output));
  };
  expect([](PretrainShape& s) { s.heads = 0; });
  expect([](PretrainShape& s) { s.kv_heads = 0; });
  expect([](PretrainShape& s) { s.kv_heads = 3; });
  expect([](PretrainShape& s) { s.layers = 0; });
  expect([](PretrainShape& s) { s.hidden = int64_t{1} << 39; });
  expect([](PretrainShape& s) { s.hidden = 40; });  // heads of 10: half of them cannot be paired
  expect([](PretrainShape& s) { s.vocabulary = 100; });
  expect([](PretrainShape& s) { s.type = "Q9_9"; });
}

TEST_F(Pretrainer, AFailedTrainingLeavesTheOldModelAndNothingElse) {
  TrainingJob job = Job("model.gguf");
  job.plan.steps = 1;
  Run(job);
  const std::string before = *ReadFile(job.output);
  job.plan.learning_rate = 1e42;
  job.plan.steps = 3;
  EXPECT_EQ(ExitCodeOf(Fail(job)), ExitCode::kFailed);
  EXPECT_EQ(*ReadFile(job.output), before);
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_.path())) ++files;
  EXPECT_EQ(files, 2);  // the records and the model
}

}  // namespace
}  // namespace fedglm
