// FedAvg is what it says: with one local step, full participation and equal data, a round is the step on the pooled
// batch.
#include <random>

#include "aggregator/strategy/strategy.h"
#include "tests/aggregator/strategy/combined.h"
#include "tests/aggregator/strategy/set_number.h"
#include "tests/training/job_runner.h"
#include "training/base_model.h"

namespace fedglm {
namespace {

constexpr int kSites = 3;

class FederatedAveraging : public JobTest {
 protected:
  void SetUp() override {
    JobTest::SetUp();
    if (IsSkipped()) return;
    // Each site its own questions; the answers are the same in another order, so that every site has as many answer
    // tokens.
    const std::vector<std::string> answers = {"no effusion", "a nodule in the left lung", "normal",
                                              "old fracture of rib 3"};
    const BaseModel base = *BaseModel::Open(model_);
    for (int site = 0; site < kSites; ++site) {
      std::string text;
      for (size_t i = 0; i < answers.size(); ++i) {
        text += "{\"prompt\":\"site " + std::to_string(site) + std::string(static_cast<size_t>(3 * site), '?') +
                " asks " + std::to_string(i) + "\",\"completion\":\" " +
                answers[(i + static_cast<size_t>(site)) % answers.size()] + "\"}\n";
      }
      records_.push_back(WriteRecords("site" + std::to_string(site) + ".jsonl", text));
      const ExampleSet set = *base.Load({records_.back()}, 64);
      if (site == 0) answer_tokens_ = set.CountedTokens();
      ASSERT_EQ(set.CountedTokens(), answer_tokens_);
      ASSERT_EQ(set.examples.size(), answers.size());
      tokens_.push_back(0);
      for (const Example& example : set.examples) tokens_.back() += static_cast<int64_t>(example.tokens.size());
    }
    ASSERT_NE(tokens_[0], tokens_[1]);  // of unequal lengths all the same
    global_ = Loaded(GoldenPath(kGoldenLora));
  }

  // One step over all of `sites`' records from the global adapter, in `mode`; returns the adapter.
  Adapter StepOver(const std::vector<int>& sites, UpdateForm mode) {
    TrainingJob job = SgdJob("step");
    job.mode = mode;
    job.adapter = GoldenPath(kGoldenLora);
    job.records.clear();
    job.plan.batch_tokens = 0;
    for (const int site : sites) {
      job.records.push_back(records_[static_cast<size_t>(site)]);
      job.plan.batch_tokens += tokens_[static_cast<size_t>(site)];
    }
    const std::vector<TrainerEvent> events = Run(job);
    EXPECT_EQ(events.back().examples, static_cast<int64_t>(4 * sites.size()));
    return Loaded(job.output);
  }
  TensorMap GradientOf(int site) {
    TrainingJob job = SgdJob("gradient");
    job.kind = JobKind::kGradient;
    job.mode = UpdateForm::kGradientOfB;
    job.adapter = GoldenPath(kGoldenLora);
    job.records = {records_[static_cast<size_t>(site)]};
    Run(job);
    return *ParseTensors(*ReadFile(job.output / "gradient.safetensors"));
  }
  // How far two adapters are apart, against how far the round moved.
  double ApartAfter(const Adapter& federated, const Adapter& pooled, UpdateForm mode) const {
    return Apart(*MakeUpdate(global_, federated, mode), *MakeUpdate(global_, pooled, mode));
  }

  std::vector<std::filesystem::path> records_;
  std::vector<int64_t> tokens_;
  int64_t answer_tokens_ = 0;
  Adapter global_;
};

TEST_F(FederatedAveraging, OneStepEachEqualsThePooledStep) {
  for (const UpdateForm mode : {UpdateForm::kChangeOfB, UpdateForm::kChangeOfFactors}) {
    std::vector<TensorMap> updates;
    Adapter last;
    for (int site = 0; site < kSites; ++site) {
      last = StepOver({site}, mode);
      updates.push_back(*MakeUpdate(global_, last, mode));
    }
    const Adapter pooled = StepOver({0, 1, 2}, mode);
    const std::vector<int64_t> weights(kSites, answer_tokens_);
    const double apart =
        ApartAfter(Combined(*DefaultStrategy(mode), global_, mode, updates, weights).adapter, pooled, mode);
    std::printf("  %s: a round and the pooled step are %.1e apart\n", std::string(UpdateFormName(mode)).c_str(), apart);
    EXPECT_LT(apart, 1e-4);
    EXPECT_GT(ApartAfter(last, pooled, mode), 0.1);  // one site alone goes elsewhere
  }
}

TEST_F(FederatedAveraging, AFedSgdRoundEqualsThePooledStepToo) {
  const double rate = SgdJob("step").plan.learning_rate;
  const UpdateForm form = UpdateForm::kGradientOfB;
  const std::unique_ptr<Strategy> strategy = DefaultStrategy(form);
  SetNumber(*strategy, "federation.server_learning_rate", rate);
  std::vector<TensorMap> gradients;
  for (int site = 0; site < kSites; ++site) gradients.push_back(GradientOf(site));
  const Adapter stepped =
      Combined(*strategy, global_, form, gradients, std::vector<int64_t>(kSites, answer_tokens_)).adapter;
  const double apart = ApartAfter(stepped, StepOver({0, 1, 2}, UpdateForm::kChangeOfB), UpdateForm::kChangeOfB);
  std::printf("  fedsgd: a round and the pooled step are %.1e apart\n", apart);
  EXPECT_LT(apart, 1e-4);
}

// Sites of unequal size count by their size: two sites' records at one site are one update of twice the weight.
TEST_F(FederatedAveraging, UpdatesCountByTheirExamples) {
  const UpdateForm mode = UpdateForm::kChangeOfB;
  const std::vector<TensorMap> updates = {*MakeUpdate(global_, StepOver({0, 1}, mode), mode),
                                          *MakeUpdate(global_, StepOver({2}, mode), mode)};
  const Adapter averaged = Combined(*DefaultStrategy(mode), global_, mode, updates, {8, 4}).adapter;
  EXPECT_LT(ApartAfter(averaged, StepOver({0, 1, 2}, mode), mode), 1e-4);
}

}  // namespace
}  // namespace fedglm
