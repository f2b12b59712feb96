#include "inference/engine/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>
#include <tuple>

#include "inference/engine/text_stream.h"
#include "inference/gguf/lora_gguf.h"
#include "inference/kernels/instruction_sets.h"
#include "tests/inference/engine/all_logits.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

std::vector<Token> GoldenTokens() {
  std::ifstream file(GoldenPath("golden/tokens.txt"));
  std::vector<Token> tokens;
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::replace(text.begin(), text.end(), ',', ' ');
  std::istringstream numbers(text);
  for (Token token; numbers >> token;) tokens.push_back(token);
  return tokens;
}

std::unique_ptr<Engine> OpenOrDie(const std::filesystem::path& path) {
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Open(path, {});
  EXPECT_TRUE(engine.ok()) << Message(engine.status());
  return engine.ok() ? std::move(*engine) : nullptr;
}

// llama.cpp's own error against the exact logits (shared/data/README.md): to be no worse is the bar.
struct GoldenFile {
  const char* type;
  double bar;
};
// Of every instruction set that this CPU has.
class GoldenLogits : public testing::TestWithParam<std::tuple<GoldenFile, std::string_view>> {
 protected:
  void SetUp() override { ASSERT_TRUE(SelectInstructionSet(std::get<1>(GetParam())).ok()); }
  ~GoldenLogits() override { (void)SelectInstructionSet(before_); }

 private:
  const std::string before_{InstructionSet()};
};

TEST_P(GoldenLogits, AreNoWorseThanLlamaCpp) {
  const auto& [golden, set] = GetParam();
  const std::string stem = std::string("golden/glm4-tiny-") + golden.type;
  GOLDEN_OR_SKIP(model, stem + ".gguf");
  const std::string exact = stem + (std::string(golden.type) == "f32" ? ".logits" : ".exact.logits");
  GOLDEN_OR_SKIP(expected, exact);
  const std::unique_ptr<Engine> engine = OpenOrDie(model);
  ASSERT_NE(engine, nullptr);
  const std::vector<float> logits = AllLogits(*engine, GoldenTokens()), truth = ReadFloats(expected);
  ASSERT_EQ(logits.size(), truth.size());
  const double error = NormalisedError(logits, truth);
  RecordProperty("nmse", std::to_string(error));
  std::printf("  %s, %s: normalised mean squared error %.2e (llama.cpp %.1e)\n", golden.type, std::string(set).c_str(),
              error, golden.bar);
  EXPECT_LE(error, golden.bar);
}

INSTANTIATE_TEST_SUITE_P(
    Types, GoldenLogits,
    testing::Combine(testing::Values(GoldenFile{"f32", 1e-6}, GoldenFile{"f16", 8e-7}, GoldenFile{"bf16", 4.5e-5},
                                     GoldenFile{"q8_0", 6.9e-4}, GoldenFile{"q4_0", 4.7e-4}, GoldenFile{"q4_1", 8.0e-4},
                                     GoldenFile{"q5_0", 8.4e-4}, GoldenFile{"q5_1", 9.5e-4}, GoldenFile{"q2_k", 1.3e-3},
                                     GoldenFile{"q3_k_m", 1.0e-3}, GoldenFile{"q4_k_m", 1.0e-3},
                                     GoldenFile{"q5_k_m", 1.7e-3}, GoldenFile{"q6_k", 1.6e-3},
                                     GoldenFile{"iq4_nl", 7.0e-4}, GoldenFile{"iq4_xs", 1.1e-3}),
                     testing::ValuesIn(AvailableInstructionSets())),
    [](const auto& info) {
      return std::string(std::get<0>(info.param).type) + "_" + std::string(std::get<1>(info.param));
    });

TEST(GoldenLora, BothFormsGiveLlamaCppsLogits) {
  GOLDEN_OR_SKIP(model, "golden/glm4-tiny-f32.gguf");
  GOLDEN_OR_SKIP(expected, "golden/glm4-tiny-f32.with-lora.logits");
  const std::unique_ptr<Engine> engine = OpenOrDie(model);
  ASSERT_NE(engine, nullptr);
  const std::vector<float> truth = ReadFloats(expected);
  for (const char* form : {"golden/glm4-tiny-lora", "golden/glm4-tiny-lora.gguf"}) {
    absl::StatusOr<Adapter> adapter = LoadAdapterFor(GoldenPath(form), engine->file(), "");
    ASSERT_TRUE(adapter.ok()) << Message(adapter.status());
    ASSERT_TRUE(engine->SetAdapter(std::make_shared<Adapter>(*std::move(adapter))).ok());
    EXPECT_LT(NormalisedError(AllLogits(*engine, GoldenTokens()), truth), 1e-6) << form;
  }
  // And without it again, the base's.
  ASSERT_TRUE(engine->SetAdapter(nullptr).ok());
  EXPECT_LT(NormalisedError(AllLogits(*engine, GoldenTokens()), ReadFloats(GoldenPath("golden/glm4-tiny-f32.logits"))),
            1e-6);
}

class SmallEngine : public testing::Test {
 protected:
  void SetUp() override {
    GOLDEN_OR_SKIP(model, "golden/glm4-tiny-q4_k_m.gguf");
    engine_ = OpenOrDie(model);
    ASSERT_NE(engine_, nullptr);
  }
  std::unique_ptr<Engine> engine_;
};

TEST_F(SmallEngine, GeneratesTheMostLikelyTokens) {
  GenerationRequest request;
  request.prompt = GoldenTokens();
  request.max_tokens = 5;
  request.ignore_end = true;
  const absl::StatusOr<GenerationResult> result = engine_->Generate(request, nullptr);
  ASSERT_TRUE(result.ok()) << Message(result.status());
  ASSERT_EQ(result->tokens.size(), 5u);
  // Token by token from the full forward pass of the sequence so far.
  std::vector<Token> sequence = request.prompt;
  for (const Token token : result->tokens) {
    const std::vector<float> logits = AllLogits(*engine_, sequence);
    const auto last = logits.end() - engine_->hyperparameters().vocabulary;
    EXPECT_EQ(std::max_element(last, logits.end()) - last, token);
    sequence.push_back(token);
  }
}

TEST_F(SmallEngine, ASharedPrefixChangesNothing) {
  GenerationRequest request;
  request.prompt = GoldenTokens();
  request.max_tokens = 4;
  request.ignore_end = true;
  const auto first = engine_->Generate(request, nullptr);
  const auto again = engine_->Generate(request, nullptr);
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_EQ(first->tokens, again->tokens);
}

TEST_F(SmallEngine, RefusesWhatDoesNotFit) {
  GenerationRequest request;
  EXPECT_EQ(ExitCodeOf(engine_->Generate(request, nullptr).status()), ExitCode::kUsage);
  request.prompt = {1 << 20};
  EXPECT_EQ(ExitCodeOf(engine_->Generate(request, nullptr).status()), ExitCode::kUsage);
  request.prompt.assign(static_cast<size_t>(engine_->context()) + 1, 1);
  EXPECT_EQ(ExitCodeOf(engine_->Generate(request, nullptr).status()), ExitCode::kUsage);
  request.prompt = GoldenTokens();
  request.sampling.top_p = 1.5;
  EXPECT_EQ(ExitCodeOf(engine_->Generate(request, nullptr).status()), ExitCode::kUsage);
  request.sampling.top_p = 1;
  request.timeout_seconds = std::nan("");
  EXPECT_EQ(ExitCodeOf(engine_->Generate(request, nullptr).status()), ExitCode::kUsage);
}

TEST_F(SmallEngine, AMemoryBudgetThatIsTooSmallIsAnErrorNotACrash) {
  EngineOptions options;
  options.memory_budget = 1000;
  options.plan_weights = false;
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Open(engine_->file().path(), options);
  ASSERT_TRUE(engine.ok());
  GenerationRequest request;
  request.prompt = {1, 2};
  EXPECT_EQ((*engine)->Generate(request, nullptr).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(SmallEngine, CancelsWhenNobodyListens) {
  GenerationRequest request;
  request.prompt = {1, 2, 3};
  request.max_tokens = 100;
  request.ignore_end = true;
  int calls = 0;
  const auto result = engine_->Generate(request, [&](const GeneratedToken&) { return ++calls < 3; });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->reason, FinishReason::kCancelled);
}

TEST(TextStream, HoldsBackHalfCharactersAndStopTexts) {
  TextStream stream({"END"});
  EXPECT_EQ(stream.Push("a\xC3"), "a");
  EXPECT_EQ(stream.Push("\xA9 E"), "\xC3\xA9 ");
  EXPECT_EQ(stream.Push("N"), "");
  EXPECT_EQ(stream.Push("x"), "ENx");
  EXPECT_EQ(stream.Push("yEND z"), "y");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.Push("more"), "");
}

TEST(TextStream, FlushGivesTheRest) {
  TextStream stream({});
  EXPECT_EQ(stream.Push("\xE2\x82"), "");
  EXPECT_EQ(stream.Flush(), "\xE2\x82");
}

}  // namespace
}  // namespace fedglm
