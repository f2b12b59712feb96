// Calibration on what a site reads: what is measured, that the file is better for it, and what is refused.
#include "inference/engine/calibration.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <span>

#include "base/file.h"
#include "examples/hospital/report_generator.h"
#include "gtest/gtest.h"
#include "inference/engine/engine.h"
#include "tests/support/effort.h"
#include "tests/support/source_tree.h"

namespace fedglm {
namespace {

absl::Status GoOnReading(int64_t, int64_t) { return absl::OkStatus(); }

absl::StatusOr<MomentsByTensor> Measure(const std::filesystem::path& model, const std::string& text,
                                        const CalibrationOptions& options,
                                        const std::function<absl::Status(int64_t, int64_t)>& progress) {
  return MeasureMoments(model, SequencesOfText(text), options, progress);
}

std::string Conversations(const std::vector<hospital::Report>& reports) {
  std::string text;
  for (const hospital::Report& report : reports) {
    text +=
        "[gMASK]<sop><|user|>\n" + hospital::QuestionOf(report) + "<|assistant|>\n" + report.impression + "<|user|>";
  }
  return text;
}

TEST(MomentCollector, AddsUpWhatAMatrixIsMultipliedWith) {
  MomentCollector collector;
  const float first[] = {1, 2, 3, 4}, second[] = {-3, 0};
  collector.Observe("a", first, 2, 2);
  collector.Observe("a", second, 1, 2);
  collector.Observe("b", second, 1, 2);
  const MomentsByTensor moments = collector.Moments();
  ASSERT_EQ(moments.size(), 2u);
  EXPECT_FLOAT_EQ(moments.at("a")->Mean(0, 0, 0), (1 + 9 + 9) / 3.0f);
  EXPECT_FLOAT_EQ(moments.at("a")->Mean(0, 0, 1), (2 + 12 + 0) / 3.0f);
  EXPECT_FLOAT_EQ(moments.at("b")->Mean(0, 0, 0), 9);
}

TEST(MomentCollector, MatricesWithTheSameInputShareIt) {
  MomentCollector collector;
  const float x[] = {1, 2}, y[] = {3, 4};
  for (const char* name : {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"}) {
    collector.Observe(name, x, 1, 2);
  }
  collector.Observe("blk.1.attn_q.weight", y, 1, 2);
  collector.Observe("blk.1.ffn_up.weight", x, 1, 2);  // GLM-4's, gate and up in one
  collector.Observe("blk.2.ffn_gate.weight", y, 1, 2);
  collector.Observe("blk.2.ffn_up.weight", y, 1, 2);
  const MomentsByTensor moments = collector.Moments();
  ASSERT_EQ(moments.size(), 7u);
  EXPECT_EQ(moments.at("blk.0.attn_v.weight"), moments.at("blk.0.attn_q.weight"));
  EXPECT_EQ(moments.at("blk.2.ffn_up.weight"), moments.at("blk.2.ffn_gate.weight"));
  EXPECT_EQ(moments.at("blk.0.attn_q.weight")->Mean(0, 1, 1), 4.0) << "seen once, not three times";
  EXPECT_EQ(moments.at("blk.1.attn_q.weight")->Mean(0, 1, 1), 16.0);
  EXPECT_EQ(moments.at("blk.1.ffn_up.weight")->Mean(0, 0, 1), 2.0);
}

class Calibration : public testing::Test {
 protected:
  static std::filesystem::path Model() { return SourceFolder() / "examples/hospital/glm4-hospital.gguf"; }
  static std::string TrainingText(int of_each = 40) { return Conversations(ReportsOfAllSites(of_each, 1)); }
  static std::vector<hospital::Report> ReportsOfAllSites(int of_each, uint64_t seed) {
    std::vector<hospital::Report> reports;
    for (size_t site = 0; site < hospital::Sites().size(); ++site) {
      for (hospital::Report& report : hospital::SiteReports(static_cast<int>(site), of_each, seed)) {
        reports.push_back(std::move(report));
      }
    }
    return reports;
  }

  using LogProbabilities = std::vector<std::vector<double>>;  // of every token, for each position

  // For the held-out reports, one after the other.
  static LogProbabilities Predict(const std::filesystem::path& model) {
    const auto engine = Engine::Open(model, {.threads = 1, .context = 256});
    EXPECT_TRUE(engine.ok()) << Message(engine.status());
    const int64_t vocabulary = (*engine)->hyperparameters().vocabulary;
    LogProbabilities predicted;
    for (const hospital::Report& report : ReportsOfAllSites(8, 2)) {
      const std::vector<Token> tokens = (*engine)->tokenizer().Encode(Conversations({report}), {.parse_special = true});
      const absl::Status status = (*engine)->Logits(tokens, [&](const float* rows, int64_t count) {
        for (int64_t r = 0; r < count; ++r, rows += vocabulary) {
          predicted.emplace_back(rows, rows + vocabulary);
          Normalize(predicted.back());
        }
        return absl::OkStatus();
      });
      EXPECT_TRUE(status.ok()) << Message(status);
    }
    return predicted;
  }
  static void Normalize(std::vector<double>& logits) {
    const double highest = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const double logit : logits) sum += std::exp(logit - highest);
    for (double& logit : logits) logit -= highest + std::log(sum);
  }
  static double MeanDivergence(const LogProbabilities& exact, const LogProbabilities& other) {
    double sum = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      for (size_t v = 0; v < exact[i].size(); ++v) sum += std::exp(exact[i][v]) * (exact[i][v] - other[i][v]);
    }
    return sum / static_cast<double>(exact.size());
  }
};

TEST_F(Calibration, TheInputsOfEveryMatrixAreMeasured) {
  const auto file = *GgufFile::Open(Model());
  const auto moments = Measure(Model(), TrainingText(4), {.threads = 1, .window = 128}, GoOnReading);
  ASSERT_TRUE(moments.ok()) << Message(moments.status());
  size_t matrices = 0;
  for (const GgufTensor& tensor : file->tensors()) {
    if (tensor.dimensions < 2) continue;
    ++matrices;
    const auto found = moments->find(tensor.name);
    ASSERT_NE(found, moments->end()) << tensor.name;
    EXPECT_EQ(found->second->columns(), tensor.columns()) << tensor.name;
    EXPECT_GT(found->second->Mean(0, 5, 5), 0.0) << tensor.name;
  }
  EXPECT_EQ(moments->size(), matrices);
  // And what that takes was known before.
  std::set<const InputMoments*> kept;
  uint64_t bytes = 0;
  for (const auto& [name, of_tensor] : *moments) {
    if (kept.insert(of_tensor.get()).second) bytes += InputMoments::Bytes(of_tensor->columns());
  }
  EXPECT_EQ(bytes, MomentCollector::Bytes(*ReadHyperparameters(*file)));
}

// The KL divergence from the exact model, mean over the positions of reports that calibration did not see.
// docs/quantization.md has the ratios that were measured.
TEST_F(Calibration, BringsTheModelNearerToTheExactOneOnUnseenReports) {
  const auto moments = Measure(Model(), TrainingText(), {.threads = 1, .window = 256}, GoOnReading);
  ASSERT_TRUE(moments.ok()) << Message(moments.status());
  const auto folder = TemporaryDirectory::Make();
  ASSERT_TRUE(folder.ok());
  const auto source = *GgufFile::Open(Model());
  const LogProbabilities exact = Predict(Model());
  const auto divergence = [&](const char* type, const MomentsByTensor* given) {
    const std::filesystem::path out = folder->path() / "out.gguf";
    const QuantizeOptions options = {.mix = *QuantizationMixFromName(type), .moments = given, .threads = 1};
    const auto go_on = [](int64_t, const std::string&) { return absl::OkStatus(); };
    const auto report = QuantizeFile(*source, out, options, go_on);
    EXPECT_TRUE(report.ok()) << Message(report.status());
    return MeanDivergence(exact, Predict(out));
  };
  // 256 does not divide this model's 128 columns: its Q2_K and Q3_K are IQ4_NL, its Q4_K is Q5_0.
  const std::vector<const char*> types = {"Q4_0", "Q4_1", "Q2_K", "Q4_K"};
  for (const char* type : std::span(types).first(Repetitions(10) == 10 ? types.size() : 1)) {
    const double plain = divergence(type, nullptr), calibrated = divergence(type, &*moments);
    RecordProperty("divergence_ratio_" + std::string(type), std::to_string(calibrated / plain));
    EXPECT_LT(calibrated, 0.8 * plain) << type << ": " << calibrated << " against " << plain;
  }
}

// GLM-4 9B's and Llama's forms, by the formula of docs/quantization.md.
TEST(MomentCollector, TakesTwoHundredAndSeventyTwoBytesForEachInputColumn) {
  Hyperparameters h;
  h.layers = 40, h.hidden = 4096, h.feed_forward = 13696;
  h.heads = 32, h.kv_heads = 2, h.head_size = 128;
  for (const Architecture& architecture : Architectures()) {
    h.architecture = &architecture;
    EXPECT_EQ(MomentCollector::Bytes(h), 272u * (40 * (3 * 4096 + 13696) + 4096));
  }
}

TEST_F(Calibration, WhatIsMeasuredCountsInTheMemoryBudget) {
  const uint64_t measured = MomentCollector::Bytes(*ReadHyperparameters(**GgufFile::Open(Model())));
  int64_t calls = 0;
  const auto count = [&](int64_t, int64_t) { return ++calls, absl::OkStatus(); };
  const absl::Status status =
      Measure(Model(), TrainingText(), {.threads = 1, .memory_budget = measured}, count).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Message(status).rfind("calibration, which keeps ", 0), 0u) << Message(status);
  EXPECT_NE(Message(status).find("of memory at least"), std::string::npos) << Message(status);
  EXPECT_EQ(calls, 0);
  EXPECT_TRUE(Measure(Model(), "The lungs are clear.", {.threads = 1, .memory_budget = uint64_t{2} << 30}, count).ok());
}

TEST_F(Calibration, StopsAndRefuses) {
  const auto stop = [](int64_t, int64_t) { return CancelledError("stopped"); };
  const absl::Status stopped = Measure(Model(), TrainingText(), {.threads = 1}, stop).status();
  EXPECT_EQ(stopped.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ExitCodeOf(Measure(Model(), "", {.threads = 1}, GoOnReading).status()), ExitCode::kBadInputFile);
  EXPECT_EQ(ExitCodeOf(Measure("/nowhere.gguf", "text", {}, GoOnReading).status()), ExitCode::kBadInputFile);
}

}  // namespace
}  // namespace fedglm
