#include "inference/gguf/architecture.h"

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

}  // namespace
}  // namespace fedglm
