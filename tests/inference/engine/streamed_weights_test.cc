// An engine whose layers are streamed computes what one computes whose layers are all in memory.
#include <gtest/gtest.h>

#include "base/file.h"
#include "inference/engine/engine.h"
#include "tests/inference/engine/all_logits.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

std::vector<Token> SomeTokens() {
  std::vector<Token> tokens;
  for (int i = 0; i < 50; ++i) tokens.push_back(i * 7 % TinyModel::kVocabulary);
  return tokens;
}

uint64_t StreamedBytes(const Engine& engine) {
  for (const auto& [account, bytes] : engine.Statistics().memory) {
    if (account == "streamed weights") return bytes;
  }
  ADD_FAILURE() << "no account of streamed weights";
  return 0;
}

class StreamedWeights : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    TinyModel(GetParam(), 16).Write(folder_.path() / "m.gguf");
    EngineOptions options;
    options.require_tokenizer = false;
    absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Open(folder_.path() / "m.gguf", options);
    ASSERT_TRUE(engine.ok()) << Message(engine.status());
    engine_ = *std::move(engine);
  }
  const TemporaryDirectory folder_ = *TemporaryDirectory::Make();
  std::unique_ptr<Engine> engine_;
};

TEST_P(StreamedWeights, GiveTheSameLogitsBitForBit) {
  const std::vector<float> resident = AllLogits(*engine_, SomeTokens());
  EXPECT_EQ(StreamedBytes(*engine_), 0u);
  for (int second = 0; second < 6; ++second) {
    engine_->SetMemoryPressure(3);
    EXPECT_EQ(AllLogits(*engine_, SomeTokens()), resident) << "after " << second + 1 << " steps of unpinning";
  }
  EXPECT_GT(StreamedBytes(*engine_), 0u);
}

TEST_P(StreamedWeights, LayersGoAtPressureThreeAndFourAndComeBackWithoutAny) {
  for (const int level : {1, 2}) {
    engine_->SetMemoryPressure(level);
    EXPECT_EQ(StreamedBytes(*engine_), 0u) << "at pressure " << level;
  }
  for (const int level : {3, 4}) {
    for (int second = 0; second < 8; ++second) engine_->SetMemoryPressure(level);
    EXPECT_GT(StreamedBytes(*engine_), 0u) << "at pressure " << level;
    for (int second = 0; second < 100; ++second) engine_->SetMemoryPressure(0);
    EXPECT_EQ(StreamedBytes(*engine_), 0u) << "after pressure " << level;
  }
}

TEST_P(StreamedWeights, AFileThatShrinksEndsTheRequestOnly) {
  for (int second = 0; second < 4; ++second) engine_->SetMemoryPressure(3);
  AllLogits(*engine_, SomeTokens());
  std::filesystem::resize_file(folder_.path() / "m.gguf", 20000);
  absl::Status status;
  for (int attempt = 0; attempt < 2; ++attempt) {  // the first may run on what is read already
    status = engine_->Logits({1, 2, 3}, [](const float*, int64_t) { return absl::OkStatus(); });
  }
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile) << Message(status);
}

INSTANTIATE_TEST_SUITE_P(Architectures, StreamedWeights, testing::ValuesIn(ArchitectureNames()));

}  // namespace
}  // namespace fedglm
