// Two files that say the same model in different ways must give the same logits.
#include <gtest/gtest.h>

#include "inference/engine/engine.h"
#include "tests/inference/engine/all_logits.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

const std::vector<Token> kTokens = {3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 39, 7, 0, 12};

std::vector<float> LogitsOf(const TinyModel& model) {
  const auto folder = TemporaryDirectory::Make();
  model.Write(folder->path() / "model.gguf");
  const auto engine = Engine::Open(folder->path() / "model.gguf", {.require_tokenizer = false});
  EXPECT_TRUE(engine.ok()) << Message(engine.status());
  return engine.ok() ? AllLogits(**engine, kTokens) : std::vector<float>();
}

// Over the rotated part of each head: pairs (2i, 2i+1) become (i, i + half), as llama.cpp's converter does for M-RoPE.
void PairsToHalves(TinyModel::Tensor& tensor, int64_t rotary) {
  const int64_t columns = tensor.extent.size() == 1 ? 1 : tensor.extent[0];
  const int64_t rows = static_cast<int64_t>(tensor.values.size()) / columns;
  const std::vector<float> before = tensor.values;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t i = row % TinyModel::kHeadSize;
    if (i >= rotary) continue;
    const int64_t target = row - i + i % 2 * (rotary / 2) + i / 2;
    std::copy_n(before.begin() + row * columns, columns, tensor.values.begin() + target * columns);
  }
}

TEST(EquivalentModels, MRopeSectionsMeanHalvesInPlaceOfPairs) {
  const TinyModel plain("glm4");
  TinyModel sections = plain;
  sections.arrays["rope.dimension_sections"] = {1, 1, 0, 0};
  const std::vector<float> expected = LogitsOf(plain);
  EXPECT_GT(NormalisedError(LogitsOf(sections), expected), 1e-3)
      << "the layout makes no difference: the test shows nothing";
  for (const char* layer : {"blk.0.", "blk.1."}) {
    for (const char* name : {"attn_q.weight", "attn_k.weight", "attn_q.bias", "attn_k.bias"}) {
      PairsToHalves(sections.tensors.at(std::string(layer) + name), TinyModel::kHeadSize / 2);
    }
  }
  EXPECT_LT(NormalisedError(LogitsOf(sections), expected), 1e-10);
}

TEST(EquivalentModels, ATiedHeadIsTheEmbedding) {
  for (const char* kind : {"glm4", "llama"}) {
    TinyModel tied(kind), twice(kind);
    tied.tensors.erase("output.weight");
    twice.tensors["output.weight"] = twice.tensors.at("token_embd.weight");
    EXPECT_EQ(LogitsOf(tied), LogitsOf(twice)) << kind;
  }
}

TEST(EquivalentModels, LinearScalingIsARotaryFactorOfEveryPair) {
  TinyModel scaled("llama"), factors("llama");
  scaled.strings["rope.scaling.type"] = "linear";
  scaled.numbers["rope.scaling.factor"] = 4;
  factors.tensors["rope_freqs.weight"] = {{TinyModel::kHeadSize / 2},
                                          std::vector<float>(TinyModel::kHeadSize / 2, 4.0f)};
  const std::vector<float> expected = LogitsOf(scaled);
  EXPECT_LT(NormalisedError(LogitsOf(factors), expected), 1e-12);
  EXPECT_GT(NormalisedError(LogitsOf(TinyModel("llama")), expected), 1e-5);
}

TEST(EquivalentModels, FewerKvHeadsAreMoreThatAreEqual) {
  TinyModel grouped("llama"), repeated("llama");
  repeated.integers["attention.head_count_kv"] = TinyModel::kHeads;
  const int64_t group = TinyModel::kHeads / TinyModel::kKvHeads;
  for (const char* layer : {"blk.0.", "blk.1."}) {
    for (const char* name : {"attn_k.weight", "attn_v.weight", "attn_k.bias"}) {
      TinyModel::Tensor& tensor = repeated.tensors.at(std::string(layer) + name);
      const size_t head = tensor.values.size() / TinyModel::kKvHeads;
      std::vector<float> values;
      for (int64_t h = 0; h < TinyModel::kHeads; ++h) {
        const auto begin = tensor.values.begin() + h / group * static_cast<int64_t>(head);
        values.insert(values.end(), begin, begin + static_cast<int64_t>(head));
      }
      tensor.values = std::move(values);
      tensor.extent.back() *= group;
    }
  }
  EXPECT_LT(NormalisedError(LogitsOf(repeated), LogitsOf(grouped)), 1e-12);
}

TEST(EquivalentModels, PredictionBlocksChangeNothing) {
  TinyModel more("glm4");
  more.AddLayer(2);
  more.integers["block_count"] = 3;
  more.integers["nextn_predict_layers"] = 1;
  EXPECT_EQ(LogitsOf(more), LogitsOf(TinyModel("glm4")));
}

TEST(EngineWithoutVocabulary, IsOpenedOnlyForWhoNeedsNoText) {
  const auto folder = TemporaryDirectory::Make();
  TinyModel("llama").Write(folder->path() / "model.gguf");
  const auto engine = Engine::Open(folder->path() / "model.gguf", {});
  EXPECT_EQ(ExitCodeOf(engine.status()), ExitCode::kBadInputFile);
  EXPECT_NE(Message(engine.status()).find("no vocabulary"), std::string::npos);
}

TEST(EngineStop, EndsLogitsAndLossBetweenBatches) {
  const auto folder = TemporaryDirectory::Make();
  TinyModel("llama").Write(folder->path() / "model.gguf");
  int asked = 0;
  EngineOptions options;
  options.context = 2000;
  options.require_tokenizer = false;
  options.stop_requested = [&] { return ++asked == 3; };
  const auto engine = *Engine::Open(folder->path() / "model.gguf", options);
  const std::vector<Token> tokens(1500, 1);
  int64_t rows = 0;
  const auto count_rows = [&](const float*, int64_t count) {
    rows += count;
    return absl::OkStatus();
  };
  EXPECT_EQ(engine->Logits(tokens, count_rows).code(), absl::StatusCode::kCancelled);
  EXPECT_GT(rows, 0);
  EXPECT_LT(rows, 1500);
  asked = 0;
  EXPECT_EQ(engine->SequenceLoss(tokens, std::vector<bool>(1500, true)).status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace fedglm
