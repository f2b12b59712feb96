#include "inference/gguf/quantize_file.h"

#include <cmath>
#include <cstring>

#include "base/file.h"
#include "gtest/gtest.h"
#include "inference/gguf/architecture.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

absl::Status GoOn(int64_t, const std::string&) { return absl::OkStatus(); }

QuantizeOptions With(const char* mix, int threads = 2) { return {*QuantizationMixFromName(mix), nullptr, threads}; }

struct GoldenMix {
  const char* name;
  const char* file;
};
class GoldenMixes : public testing::TestWithParam<GoldenMix> {};

// llama-quantize made the golden files: ours have the same type in the same place, the same metadata and the same size.
TEST_P(GoldenMixes, HaveTheTypesThatLlamaQuantizeChooses) {
  GOLDEN_OR_SKIP(source, "golden/glm4-tiny-f32.gguf");
  const auto in = *GgufFile::Open(source);
  const auto golden = *GgufFile::Open(GoldenPath("golden/glm4-tiny-" + std::string(GetParam().file) + ".gguf"));
  const auto folder = TemporaryDirectory::Make();
  const std::filesystem::path out = folder->path() / "out.gguf";
  const auto report = QuantizeFile(*in, out, With(GetParam().name), GoOn);
  ASSERT_TRUE(report.ok()) << Message(report.status());
  const auto ours = GgufFile::Open(out);
  ASSERT_TRUE(ours.ok()) << Message(ours.status());
  EXPECT_TRUE(ReadHyperparameters(**ours).ok());
  ASSERT_EQ((*ours)->tensors().size(), golden->tensors().size());
  int64_t weights = 0;
  for (const GgufTensor& tensor : (*ours)->tensors()) {
    const GgufTensor* const expected = golden->FindTensor(tensor.name);
    ASSERT_NE(expected, nullptr) << tensor.name;
    EXPECT_EQ(FactsOf(tensor.type).name, FactsOf(expected->type).name) << tensor.name;
    EXPECT_EQ(tensor.extent, expected->extent) << tensor.name;
    weights += tensor.rows() * tensor.columns();
  }
  EXPECT_EQ(report->weights, weights);
  EXPECT_EQ(report->bytes, (*ours)->file_bytes());
  EXPECT_EQ((*ours)->IntegerOr("general.file_type", -1), golden->IntegerOr("general.file_type", -2));
  for (const auto& [key, value] : in->metadata()) {
    if (key == "general.file_type" || key == "general.quantization_version") continue;
    const auto before = in->RawValue(key), after = (*ours)->RawValue(key);
    EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin(), after.end())) << key;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, GoldenMixes,
                         testing::Values(GoldenMix{"F16", "f16"}, GoldenMix{"bf16", "bf16"}, GoldenMix{"Q8_0", "q8_0"},
                                         GoldenMix{"Q4_0", "q4_0"}, GoldenMix{"Q4_1", "q4_1"},
                                         GoldenMix{"Q5_0", "q5_0"}, GoldenMix{"Q5_1", "q5_1"},
                                         GoldenMix{"Q2_K", "q2_k"}, GoldenMix{"q3_k_m", "q3_k_m"},
                                         GoldenMix{"Q4_K", "q4_k_m"}, GoldenMix{"Q5_K_M", "q5_k_m"},
                                         GoldenMix{"Q6_K", "q6_k"}, GoldenMix{"IQ4_NL", "iq4_nl"},
                                         GoldenMix{"IQ4_XS", "iq4_xs"}),
                         [](const auto& info) { return std::string(info.param.file); });

// Where the layers are many enough to be told apart: llama.cpp's rules for 40 layers, as Open-AutoGLM's model has.
TEST(QuantizationMix, GivesMoreBitsToTheSensitiveLayers) {
  const auto type = [](const char* mix, const char* tensor, bool calibrated = false) {
    const MixedModel model{.layers = 40, .queries_per_kv_head = 16, .tied_embeddings = false, .calibrated = calibrated};
    return TypeInMix(*QuantizationMixFromName(mix), {tensor, 2, 4096}, model);
  };
  for (const char* tensor :
       {"blk.0.ffn_down.weight", "blk.4.attn_v.weight", "blk.7.ffn_down.weight", "blk.35.attn_v.weight"}) {
    EXPECT_EQ(type("Q4_K_M", tensor), BlockType::kQ6_K) << tensor;
  }
  for (const char* tensor :
       {"blk.5.ffn_down.weight", "blk.6.attn_v.weight", "blk.0.attn_q.weight", "token_embd.weight"}) {
    EXPECT_EQ(type("Q4_K_M", tensor), BlockType::kQ4_K) << tensor;
  }
  EXPECT_EQ(type("Q4_K_S", "blk.3.attn_v.weight"), BlockType::kQ5_K);
  EXPECT_EQ(type("Q4_K_S", "blk.5.ffn_down.weight"), BlockType::kQ4_K);
  EXPECT_EQ(type("Q2_K", "blk.9.attn_v.weight"), BlockType::kQ4_K);
  EXPECT_EQ(type("Q3_K_M", "blk.1.ffn_down.weight"), BlockType::kQ5_K);
  EXPECT_EQ(type("Q4_0", "blk.0.ffn_down.weight"), BlockType::kQ4_0);
  EXPECT_EQ(type("Q4_0", "blk.0.ffn_down.weight", true), BlockType::kQ4_1);
  EXPECT_EQ(type("IQ4_XS", "blk.0.ffn_down.weight"), BlockType::kQ5_K);
  EXPECT_EQ(type("IQ4_XS", "blk.0.ffn_down.weight", true), BlockType::kIQ4_XS);
  EXPECT_EQ(type("Q2_K", "output.weight"), BlockType::kQ6_K);
}

TEST(QuantizationMix, ATiedEmbeddingIsTreatedAsTheOutputHeadItIs) {
  const auto mix = *QuantizationMixFromName("Q4_K_M");
  EXPECT_EQ(TypeInMix(mix, {"token_embd.weight", 2, 512}, {.layers = 2, .tied_embeddings = true}), BlockType::kQ6_K);
  EXPECT_EQ(TypeInMix(mix, {"token_embd.weight", 2, 512}, {.layers = 2, .tied_embeddings = false}), BlockType::kQ4_K);
}

TEST(QuantizationMix, RowsThatItsBlocksDoNotDivideGetAFinerType) {
  const auto type = [](const char* mix, int64_t columns) {
    return TypeInMix(*QuantizationMixFromName(mix), {"blk.0.attn_q.weight", 2, columns}, {.layers = 2});
  };
  EXPECT_EQ(type("Q4_K_M", 576), BlockType::kQ5_0);
  EXPECT_EQ(type("Q6_K", 576), BlockType::kQ8_0);
  EXPECT_EQ(type("Q2_K", 576), BlockType::kIQ4_NL);
  EXPECT_EQ(type("Q2_K", 24), BlockType::kF16);
  EXPECT_EQ(type("Q4_0", 24), BlockType::kF16);
}

TEST(QuantizationMix, AnUnknownNameIsAnswered) {
  const absl::Status status = QuantizationMixFromName("Q9_K").status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
  EXPECT_NE(Message(status).find("Q4_K_M"), std::string::npos);
}

class QuantizeTinyFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_.emplace(*TemporaryDirectory::Make());
    in_path_ = folder_->path() / "in.gguf";
    out_ = folder_->path() / "out.gguf";
  }
  std::shared_ptr<const GgufFile> Open(const TinyModel& model) {
    model.Write(in_path_);
    return *GgufFile::Open(in_path_);
  }
  void ExpectNothingLeft() {
    const auto entries = std::filesystem::directory_iterator(folder_->path());
    EXPECT_EQ(std::distance(begin(entries), end(entries)), 1) << "only the input is there";
  }
  std::optional<TemporaryDirectory> folder_;
  std::filesystem::path in_path_, out_;
};

TEST_F(QuantizeTinyFile, TheBytesDoNotDependOnTheThreads) {
  const auto in = Open(TinyModel("llama"));
  ASSERT_TRUE(QuantizeFile(*in, out_, With("Q4_1", 1), GoOn).ok());
  const std::string one = *ReadFile(out_);
  ASSERT_TRUE(QuantizeFile(*in, out_, With("Q4_1", 3), GoOn).ok());
  EXPECT_EQ(one, *ReadFile(out_));
}

TEST_F(QuantizeTinyFile, WhatHasItsTypeAlreadyIsCopied) {
  const auto in = Open(TinyModel("glm4"));
  ASSERT_TRUE(QuantizeFile(*in, out_, With("Q5_0"), GoOn).ok());
  const auto once = *GgufFile::Open(out_);
  const std::filesystem::path again = folder_->path() / "again.gguf";
  ASSERT_TRUE(QuantizeFile(*once, again, With("Q5_0"), GoOn).ok());
  EXPECT_EQ(*ReadFile(out_), *ReadFile(again));
}

TEST_F(QuantizeTinyFile, AWeightThatIsNotFiniteIsNamedAndNothingIsLeft) {
  TinyModel model("llama");
  model.tensors.at("blk.1.attn_k.weight").values[40] = std::nanf("");
  const absl::Status status = QuantizeFile(*Open(model), out_, With("Q4_0"), GoOn).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
  EXPECT_NE(Message(status).find("blk.1.attn_k.weight"), std::string::npos) << Message(status);
  ExpectNothingLeft();
}

TEST_F(QuantizeTinyFile, StoppedHalfwayItLeavesNothing) {
  const auto stop = [](int64_t done, const std::string&) {
    return done < 5 ? absl::OkStatus() : CancelledError("stopped");
  };
  const absl::Status status = QuantizeFile(*Open(TinyModel("llama")), out_, With("Q8_0"), stop).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  ExpectNothingLeft();
}

TEST_F(QuantizeTinyFile, MomentsChangeTheirTensorAlone) {
  const auto in = Open(TinyModel("llama"));
  ASSERT_TRUE(QuantizeFile(*in, out_, With("Q4_K_M"), GoOn).ok());
  std::vector<float> x(TinyModel::kHidden);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  const auto inputs = std::make_shared<InputMoments>(TinyModel::kHidden);
  inputs->Add(x.data(), 1);
  const MomentsByTensor moments = {{"blk.0.attn_q.weight", inputs}, {"token_embd.weight", inputs}};
  QuantizeOptions options = With("Q4_K_M");
  options.moments = &moments;
  const std::filesystem::path calibrated = folder_->path() / "calibrated.gguf";
  ASSERT_TRUE(QuantizeFile(*in, calibrated, options, GoOn).ok());
  const auto a = *GgufFile::Open(out_), b = *GgufFile::Open(calibrated);
  for (const GgufTensor& tensor : a->tensors()) {
    const GgufTensor* const other = b->FindTensor(tensor.name);
    const bool same = std::equal(tensor.bytes.begin(), tensor.bytes.end(), other->bytes.begin(), other->bytes.end());
    EXPECT_EQ(same, tensor.name != "blk.0.attn_q.weight")
        << tensor.name << ": an embedding's rows are read as they are";
  }
  const MomentsByTensor wrong = {{"blk.0.attn_q.weight", std::make_shared<InputMoments>(TinyModel::kHidden - 1)}};
  options.moments = &wrong;
  EXPECT_EQ(ExitCodeOf(QuantizeFile(*in, calibrated, options, GoOn).status()), ExitCode::kUsage);
}

}  // namespace
}  // namespace fedglm
