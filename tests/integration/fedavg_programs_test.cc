// FedAvg is what it says, through the real programs: one step of SGD at every site, averaged, is one step on all
// records in one place.
#include <gtest/gtest.h>

#include <random>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "base/file.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/chat_template.h"
#include "inference/tokenizer/tokenizer.h"
#include "tests/integration/federation.h"
#include "tests/integration/processes.h"
#include "tests/support/golden.h"
#include "training/data/records.h"

namespace fedglm {
namespace {

constexpr char kRate[] = "0.5";
constexpr double kTolerance = 1e-5;  // of the update's norm: float32, summed in another order

class FedAvgPrograms : public testing::Test {
 protected:
  void SetUp() override {
    setenv("TMPDIR", FolderForTests().c_str(), 1);
    folder_.emplace(Get(TemporaryDirectory::Make("fedavg")));
    model_ = GoldenPath("golden/glm4-tiny-q4_k_m.gguf");
    const Outcome made =
        RunProgram("fedglm", {"adapter", "init", "-m", model_, "--out", Path("initial")}, folder_->path());
    ASSERT_EQ(made.status, 0) << made.err;
    initial_ = Get(LoadAdapter(Path("initial")));
    CollectRecords();
  }

  std::filesystem::path Path(const std::string& name) const { return folder_->path() / name; }

  // Records that all have the same number of tokens and of answer tokens, so that equal records are equal data.
  void CollectRecords() {
    std::mt19937 random(3);
    const auto word = [&] {
      std::string letters;
      for (int i = 0; i < 12; ++i) letters += static_cast<char>('a' + random() % 26);
      return letters;
    };
    std::vector<std::string> candidates;
    std::string all;
    for (int i = 0; i < 600; ++i) all += candidates.emplace_back(RecordLine("what is " + word(), "it is " + word()));
    ASSERT_TRUE(Done(WriteFileAtomically(Path("candidates.jsonl"), all)));
    const auto file = Get(GgufFile::Open(model_));
    const ExampleSet set =
        Get(LoadExamples({Path("candidates.jsonl")}, *Get(Tokenizer::FromGguf(*file)), ChatTemplate{}, 256));
    ASSERT_EQ(set.examples.size(), candidates.size());
    std::map<std::pair<size_t, int64_t>, std::vector<std::string>> by_size;
    for (size_t i = 0; i < candidates.size(); ++i) {
      std::vector<std::string>& same = by_size[{set.examples[i].tokens.size(), set.examples[i].CountedTokens()}];
      same.push_back(candidates[i]);
      if (same.size() <= records_.size()) continue;
      records_ = same;
      record_tokens_ = static_cast<int64_t>(set.examples[i].tokens.size());
    }
    ASSERT_GE(records_.size(), 32u);
  }

  std::string Take(size_t first, size_t count) const {
    std::string lines;
    for (size_t i = first; i < first + count; ++i) lines += records_[i];
    return lines;
  }

  // Δ of one step on a batch of exactly `count` records in one place, as `fedglm train` makes it.
  TensorMap StepOn(const std::string& name, const std::string& lines, size_t count) {
    EXPECT_TRUE(Done(WriteFileAtomically(Path(name + ".jsonl"), lines)));
    const std::string tokens = std::to_string(static_cast<int64_t>(count) * record_tokens_);
    const Outcome trained = RunProgram("fedglm",
                                       {"train",
                                        "-m",
                                        model_,
                                        "--data",
                                        Path(name + ".jsonl"),
                                        "--out",
                                        Path(name),
                                        "--adapter",
                                        Path("initial"),
                                        "--mode",
                                        "freeze-a",
                                        "--optimizer",
                                        "sgd",
                                        "--steps",
                                        "1",
                                        "--batch-tokens",
                                        tokens,
                                        "--sequence-length",
                                        "256",
                                        "--learning-rate",
                                        kRate,
                                        "--clip-norm",
                                        "0",
                                        "-t",
                                        "1",
                                        "--json"},
                                       folder_->path());
    EXPECT_EQ(trained.status, 0) << trained.err;
    return Get(MakeUpdate(initial_, Get(LoadAdapter(Path(name))), UpdateForm::kChangeOfB));
  }

  // Δ of one round in which each site makes one step on `count` records.
  TensorMap RoundOf(const std::string& mode, const std::vector<std::string>& sites, size_t count) {
    FederationSettings settings;
    settings.model = model_;
    settings.initial_adapter = Path("initial");
    settings.mode = mode;
    settings.rounds = 1;
    settings.min_sites = static_cast<int>(sites.size());
    settings.federation =
        std::string("server_learning_rate = ") + kRate + "\n[aggregation]\nmax_weight_share = 1\nnorm_bound = 0\n";
    settings.training =
        "optimizer = \"sgd\"\nsteps = 1\nschedule = \"constant\"\nclip_norm = 0\nsequence_length = 256\nlearning_rate "
        "= " +
        std::string(kRate) + "\nbatch_tokens = " + std::to_string(static_cast<int64_t>(count) * record_tokens_) + "\n";
    settings.site_lines = "[adapter]\nmax_regression = 1e12\n";  // one step may be too long for one held-out record
    Federation federation(Path("federation-" + mode), settings);
    EXPECT_TRUE(Done(federation.StartAggregator()));
    for (size_t i = 0; i < sites.size(); ++i) {
      const std::string site = "site-" + std::to_string(i);
      EXPECT_TRUE(Done(federation.AddSite(site, sites[i], Take(0, 1))));  // so that no record is set aside
      EXPECT_TRUE(Done(federation.StartNode(site)));
    }
    EXPECT_TRUE(Done(federation.WaitForRound(1)));
    federation.Stop();
    const Adapter adapter = Get(federation.InstalledAdapter("site-0"));
    EXPECT_EQ(adapter.provenance->contributors.size(), sites.size());
    for (const auto& [name, pair] : adapter.modules) EXPECT_EQ(pair.a, initial_.modules.at(name).a) << "A is frozen";
    return Get(MakeUpdate(initial_, adapter, UpdateForm::kChangeOfB));
  }

  // ‖a − b‖ / ‖b‖
  static double Distance(TensorMap a, const TensorMap& b) {
    EXPECT_TRUE(Done(AddScaled(-1.0, b, a)));
    return NormOf(a) / NormOf(b);
  }

  // The distance is kept as a figure of the test (--gtest_output=xml).
  static void ExpectSame(const std::string& what, const TensorMap& a, const TensorMap& b) {
    char figure[32];
    std::snprintf(figure, sizeof(figure), "%.3g", Distance(a, b));
    RecordProperty(what, figure);
    EXPECT_LT(Distance(a, b), kTolerance) << what;
  }

  static TensorMap Mean(double weight_a, const TensorMap& a, double weight_b, const TensorMap& b) {
    TensorMap mean = a;
    EXPECT_TRUE(Done(AddScaled(weight_a - 1, a, mean)));
    EXPECT_TRUE(Done(AddScaled(weight_b, b, mean)));
    return mean;
  }

  std::optional<TemporaryDirectory> folder_;
  std::filesystem::path model_;
  Adapter initial_;
  std::vector<std::string> records_;
  int64_t record_tokens_ = 0;
};

TEST_F(FedAvgPrograms, ARoundOnEqualDataIsTheStepOnThePooledBatch) {
  const TensorMap round = RoundOf("freeze-a", {Take(0, 8), Take(8, 8), Take(16, 8)}, 8);
  const TensorMap pooled = StepOn("pooled", Take(0, 24), 24);
  ASSERT_GT(NormOf(pooled), 1e-3);
  ExpectSame("round_to_pooled", round, pooled);
  // No site's own step is: the tolerance tells them apart.
  EXPECT_GT(Distance(StepOn("alone", Take(0, 8), 8), pooled), 1000 * kTolerance);
}

// Each site's batch is as large as the larger one's data, so that the smaller one goes through its own three times: its
// step is the same, and only its weight says how much it has.
TEST_F(FedAvgPrograms, WeightsFollowTheNumberOfExamples) {
  const std::string small = Take(0, 8), large = Take(8, 24);
  const TensorMap of_small = StepOn("small", small, 8), of_large = StepOn("large", large, 24);
  const TensorMap weighted = Mean(0.25, of_small, 0.75, of_large), even = Mean(0.5, of_small, 0.5, of_large);
  ASSERT_GT(Distance(even, weighted), 1000 * kTolerance);
  const TensorMap round = RoundOf("freeze-a", {small, large}, 24);
  ExpectSame("round_to_weighted_mean", round, weighted);
  ExpectSame("round_to_pooled", round, StepOn("pooled", small + large, 32));
  // One gradient a round, and the aggregator takes the step: the same.
  ExpectSame("fedsgd_to_freeze_a", RoundOf("fedsgd", {small, large}, 24), round);
}

}  // namespace
}  // namespace fedglm
