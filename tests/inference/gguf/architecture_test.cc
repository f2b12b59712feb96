#include "inference/gguf/architecture.h"

#include <limits>

#include "base/file.h"
#include "gtest/gtest.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

absl::StatusOr<Hyperparameters> Read(const TinyModel& model) {
  const auto folder = TemporaryDirectory::Make();
  model.Write(folder->path() / "model.gguf");
  FEDGLM_ASSIGN_OR_RETURN(const auto file, GgufFile::Open(folder->path() / "model.gguf"));
  return ReadHyperparameters(*file);
}

TEST(Architecture, ReadsBothKinds) {
  for (const char* kind : {"glm4", "llama"}) {
    const auto h = Read(TinyModel(kind));
    ASSERT_TRUE(h.ok()) << Message(h.status());
    EXPECT_EQ(h->layers, 2);
    EXPECT_EQ(h->rotary_size, std::string(kind) == "glm4" ? 4 : 8);
    EXPECT_FALSE(h->tied_embeddings);
  }
}

// A fused gate and up has a bias of both widths; half of it would be read beyond its end.
TEST(Architecture, BiasOfTheFusedMatrixHasItsWholeWidth) {
  TinyModel model("glm4");
  model.Add("blk.0.ffn_up.bias", {TinyModel::kFeedForward});
  EXPECT_EQ(ExitCodeOf(Read(model).status()), ExitCode::kBadInputFile);
  model.Add("blk.0.ffn_up.bias", {2 * TinyModel::kFeedForward});
  EXPECT_TRUE(Read(model).ok());
}

TEST(Architecture, ATensorThatTheForwardPassWouldLeaveOutIsRefused) {
  TinyModel norms("llama");
  norms.Add("blk.1.attn_q_norm.weight", {TinyModel::kHeadSize});
  const absl::Status status = Read(norms).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
  EXPECT_NE(Message(status).find("blk.1.attn_q_norm.weight"), std::string::npos);
  TinyModel gate("glm4");
  gate.Add("blk.0.ffn_gate.weight", {TinyModel::kHidden, TinyModel::kFeedForward});
  EXPECT_FALSE(Read(gate).ok());
}

TEST(Architecture, BlocksThatPredictFurtherTokensAreNoLayers) {
  TinyModel model("glm4", 3);
  model.integers["nextn_predict_layers"] = 1;
  model.Add("blk.2.nextn.eh_proj.weight", {2 * TinyModel::kHidden, TinyModel::kHidden});
  const auto h = Read(model);
  ASSERT_TRUE(h.ok()) << Message(h.status());
  EXPECT_EQ(h->layers, 2);
  model.integers["nextn_predict_layers"] = 3;
  EXPECT_EQ(ExitCodeOf(Read(model).status()), ExitCode::kBadInputFile);
}

TEST(Architecture, RotaryScalingIsReadAsLlamaCppReadsIt) {
  const auto scale_of = [](const char* type, float factor) {
    TinyModel model("llama");
    if (*type != '\0') model.strings["rope.scaling.type"] = type;
    model.numbers["rope.scaling.factor"] = factor;
    const auto h = Read(model);
    return h.ok() ? h->rotary_scale : -1.0;
  };
  EXPECT_EQ(scale_of("linear", 4), 0.25);
  EXPECT_EQ(scale_of("", 4), 0.25);
  EXPECT_EQ(scale_of("none", 4), 1.0);
  EXPECT_EQ(scale_of("linear", 0), 1.0);
  EXPECT_EQ(scale_of("yarn", 4), -1.0);  // refused
  EXPECT_EQ(scale_of("linear", -2), -1.0);
}

// Each of these would be read beyond its end, give other numbers in silence, or stand for a model that is none.
constexpr auto refused = [](const std::string& because, auto change, const char* kind = "llama") {
  TinyModel model(kind);
  change(model);
  const absl::Status status = Read(model).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile) << because << ": " << Message(status);
  EXPECT_NE(Message(status).find(because), std::string::npos) << Message(status);
};
using Model = TinyModel;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

TEST(Architecture, HyperparametersThatDoNotFitAreRefused) {
  refused("architecture 'mamba'", [](Model& m) { m.architecture = "mamba"; });
  for (const char* key : {"block_count", "embedding_length", "feed_forward_length", "attention.head_count"}) {
    refused(key, [&](Model& m) { m.integers.erase(key); });
    refused(key, [&](Model& m) { m.integers[key] = 0; });
    refused(key, [&](Model& m) { m.integers[key] = 0xFFFFFFFF; });
    refused(key, [&](Model& m) { m.integers.erase(key), m.strings[key] = "2"; });
    refused(key, [&](Model& m) { m.integers.erase(key), m.arrays[key] = {2, 2}; });
  }
  refused("blk.2.", [](Model& m) { m.integers["block_count"] = 3; });
  refused("blk.1.", [](Model& m) { m.integers["block_count"] = 1; });
  refused("block_count", [](Model& m) { m.integers["block_count"] = 1025; });
  refused("expected", [](Model& m) { m.integers["embedding_length"] = 64; });
  refused("expected", [](Model& m) { m.integers["feed_forward_length"] = 23; });
  refused("expected", [](Model& m) { m.integers["attention.head_count"] = 2; });
  refused("K/V heads", [](Model& m) { m.integers["attention.head_count_kv"] = 3; });
  refused("expected", [](Model& m) { m.integers["attention.head_count_kv"] = 4; });
  refused("head_count_kv", [](Model& m) {
    m.integers.erase("attention.head_count_kv");
    m.arrays["attention.head_count_kv"] = {2, 2};
  });
  refused("expected", [](Model& m) {
    m.integers["attention.key_length"] = 16;
    m.integers["attention.value_length"] = 16;
  });
  refused("different sizes", [](Model& m) { m.integers["attention.value_length"] = 4; });
  refused("context_length", [](Model& m) { m.integers["context_length"] = 0; });
  refused("context_length", [](Model& m) { m.integers["context_length"] = 0xFFFFFFFF; });
  refused("rope.dimension_count", [](Model& m) { m.integers["rope.dimension_count"] = 10; });
  refused("rope.dimension_count", [](Model& m) { m.integers["rope.dimension_count"] = 3; });
  refused("rope.dimension_count", [](Model& m) { m.integers["rope.dimension_count"] = 0; });
  for (const char* key : {"rope.freq_base", "attention.layer_norm_rms_epsilon"}) {
    for (const float value : {0.0f, -1.0f, kNan, kInfinity}) refused(key, [&](Model& m) { m.numbers[key] = value; });
    refused(key, [&](Model& m) { m.numbers.erase(key), m.strings[key] = "10000"; });
  }
  refused("rope.scaling.factor", [&](Model& m) { m.numbers["rope.scaling.factor"] = kNan; });
  refused("rope.scaling.factor", [](Model& m) { m.strings["rope.scaling.factor"] = "2"; });
  refused("rope.scaling.type", [](Model& m) { m.integers["rope.scaling.type"] = 1; });
  refused(
      "rope.dimension_sections", [](Model& m) { m.strings["rope.dimension_sections"] = "x"; }, "glm4");
  refused(
      "rope.dimension_sections",
      [](Model& m) {
        m.arrays["rope.dimension_sections"] = {1, -1, 0};
      },
      "glm4");
  refused(
      "fourth section",
      [](Model& m) {
        m.arrays["rope.dimension_sections"] = {1, 1, 0, 1};
      },
      "glm4");
  refused("nextn_predict_layers", [](Model& m) { m.strings["nextn_predict_layers"] = "1"; });
  refused("mixture-of-experts", [](Model& m) { m.integers["expert_count"] = 8; });
}

TEST(Architecture, TensorsAndVocabulariesThatDoNotFitAreRefused) {
  refused("token_embd.weight", [](Model& m) { m.tensors.erase("token_embd.weight"); });
  refused("output_norm.weight", [](Model& m) { m.tensors.erase("output_norm.weight"); });
  refused("output.weight", [](Model& m) { m.Add("output.weight", {Model::kHidden, Model::kVocabulary - 1}); });
  refused("blk.1.ffn_down.weight", [](Model& m) { m.tensors.erase("blk.1.ffn_down.weight"); });
  refused(
      "post_ffw_norm", [](Model& m) { m.tensors.erase("blk.0.post_ffw_norm.weight"); }, "glm4");
  refused("rope_freqs.weight", [](Model& m) { m.Add("rope_freqs.weight", {Model::kHeadSize}); });
  for (const float value : {0.0f, -1.0f, kNan, kInfinity}) {
    refused("rope_freqs.weight", [&](Model& m) { m.tensors["rope_freqs.weight"] = {{4}, {1, 1, value, 1}}; });
  }
  refused("more tokens", [](Model& m) { m.lists["tokenizer.ggml.tokens"].assign(Model::kVocabulary + 1, "x"); });
  refused("chat_template", [](Model& m) { m.texts["tokenizer.chat_template"] = std::string((1 << 20) + 1, 'x'); });
}

}  // namespace
}  // namespace fedglm
