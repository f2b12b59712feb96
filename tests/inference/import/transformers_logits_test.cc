// Checkpoints that transformers wrote give the logits that transformers computed; make_tiny_qwen.py made both.
#include <gtest/gtest.h>

#include "base/json.h"
#include "inference/gguf/lora_gguf.h"
#include "inference/gguf/merge.h"
#include "inference/import/import_checkpoint.h"
#include "inference/model/transformer.h"
#include "inference/tokenizer/tokenizer.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

absl::Status GoOn(int64_t, const std::string&) { return absl::OkStatus(); }

class TransformersLogits : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    checkpoint_ = GoldenPath("checkpoints") / (std::string("tiny-") + GetParam());
    ASSERT_TRUE(std::filesystem::exists(checkpoint_)) << checkpoint_;
    const auto report = ImportCheckpoint(checkpoint_, Path("model.gguf"), {}, GoOn);
    ASSERT_TRUE(report.ok()) << Message(report.status());
    model_ = *GgufFile::Open(Path("model.gguf"));
    const Json expected = *ParseJson(*ReadFile(checkpoint_ / "expected" / "tokens.json"), "tokens.json");
    text_ = expected["text"];
    tokens_ = expected["tokens"].get<std::vector<Token>>();
  }

  std::filesystem::path Path(const std::string& name) const { return folder_.path() / name; }
  std::vector<float> Expected(const char* name) const { return ReadFloats(checkpoint_ / "expected" / name); }
  Adapter LoadTheirAdapter() const { return *LoadAdapterFor(checkpoint_ / "adapter", *model_, ""); }

  std::vector<float> Logits(const std::shared_ptr<const GgufFile>& file, const Adapter* adapter) {
    const auto model = *Transformer::Make(file);
    const Hyperparameters& h = model->hyperparameters();
    MemoryBudget budget(64 << 20);
    AdapterMemory adapter_memory(budget);
    PagePool pages(KvLayout{h.layers, h.kv_heads, h.head_size}, budget);
    const auto workspace = *Workspace::Make(h, 128, 128, budget);
    std::shared_ptr<const BoundAdapter> bound;
    if (adapter != nullptr) bound = *BoundAdapter::Bind(*adapter, LinearModules(h), adapter_memory);
    ThreadPool pool(2);
    SequenceCache cache(pages, KvFormat::kFloat32);
    EXPECT_TRUE(cache.Reserve(static_cast<int64_t>(tokens_.size())).ok());
    Batch batch;
    batch.Add(cache, bound.get(), tokens_);
    std::vector<int64_t> rows;
    for (int64_t row = 0; row < batch.rows(); ++row) rows.push_back(row);
    EXPECT_TRUE(model->Forward(batch, *workspace, pool, nullptr).ok());
    EXPECT_TRUE(model->Logits(rows, *workspace, pool, nullptr).ok());
    return {workspace->logits, workspace->logits + batch.rows() * h.vocabulary};
  }

  void ExpectNear(const std::vector<float>& logits, const std::vector<float>& exact, const char* what) {
    ASSERT_EQ(logits.size(), exact.size());
    const double error = NormalisedError(logits, exact);
    std::printf("  %s, %s: normalised error %.1e\n", GetParam(), what, error);
    EXPECT_LE(error, 1e-6) << what;
  }

  TemporaryDirectory folder_ = *TemporaryDirectory::Make();
  std::filesystem::path checkpoint_;
  std::shared_ptr<const GgufFile> model_;
  std::string text_;
  std::vector<Token> tokens_;
};

TEST_P(TransformersLogits, OfTheImportedModel) {
  EXPECT_EQ(model_->StringOr("general.architecture", ""), GetParam());
  EXPECT_EQ((*Tokenizer::FromGguf(*model_))->Encode(text_, {}), tokens_);
  ExpectNear(Logits(model_, nullptr), Expected("base.logits"), "base");
}

// As PEFT stores it, through llama.cpp's file and back, and merged into the weights.
TEST_P(TransformersLogits, WithAnAdapter) {
  const Adapter adapter = LoadTheirAdapter();
  const std::vector<float> expected = Expected("adapted.logits");
  EXPECT_GT(NormalisedError(Expected("base.logits"), expected), 1e-2) << "the adapter makes no difference";
  ExpectNear(Logits(model_, &adapter), expected, "adapter");
  ASSERT_TRUE(ExportGgufLora(adapter, *model_, Path("lora.gguf")).ok());
  const auto back = LoadAdapterFor(Path("lora.gguf"), *model_, "");
  ASSERT_TRUE(back.ok()) << Message(back.status());
  EXPECT_EQ(back->modules, adapter.modules);
  ASSERT_TRUE(MergeAdapter(*model_, adapter, std::nullopt, Path("merged.gguf"), GoOn).ok());
  ExpectNear(Logits(*GgufFile::Open(Path("merged.gguf")), nullptr), expected, "merged");
}

INSTANTIATE_TEST_SUITE_P(Models, TransformersLogits, testing::Values("qwen2", "qwen3"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace fedglm
