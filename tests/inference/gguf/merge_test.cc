#include "inference/gguf/merge.h"

#include <cstring>

#include "base/file.h"
#include "gtest/gtest.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/lora_gguf.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

constexpr char kQuery[] = "blk.0.attn_q.weight", kDown[] = "blk.1.ffn_down.weight";

absl::Status GoOn(int64_t, const std::string&) { return absl::OkStatus(); }

Adapter OfRankOne(const std::vector<LinearModule>& modules) {
  Adapter adapter;
  adapter.config.rank = 1;
  adapter.config.alpha = 2;
  for (const LinearModule& module : modules) {
    if (module.gguf_name != kQuery && module.gguf_name != kDown) continue;
    LoraPair pair = {Matrix::Zero(1, module.inputs), Matrix::Zero(module.outputs, 1)};
    for (int64_t i = 0; i < module.inputs; ++i)
      pair.a.values[static_cast<size_t>(i)] = 0.01f * static_cast<float>(i + 1);
    for (int64_t i = 0; i < module.outputs; ++i)
      pair.b.values[static_cast<size_t>(i)] = 0.1f * static_cast<float>(i + 1);
    adapter.modules[module.peft_name] = std::move(pair);
  }
  return adapter;
}

std::vector<float> Values(const GgufFile& file, const std::string& name) {
  const GgufTensor* const tensor = file.FindTensor(name);
  std::vector<float> values(tensor->bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
  return values;
}

class Merge : public testing::Test {
 protected:
  void SetUp() override {
    folder_.emplace(*TemporaryDirectory::Make());
    base_path_ = folder_->path() / "base.gguf";
    out_ = folder_->path() / "merged.gguf";
  }
  void Open(const TinyModel& model) {
    model.Write(base_path_);
    const auto base = GgufFile::Open(base_path_);
    ASSERT_TRUE(base.ok()) << Message(base.status());
    base_ = *base;
    adapter_ = OfRankOne(LinearModules(*ReadHyperparameters(*base_)));
  }
  std::optional<TemporaryDirectory> folder_;
  std::filesystem::path base_path_, out_;
  std::shared_ptr<const GgufFile> base_;
  Adapter adapter_;
};

TEST_F(Merge, AddsTheProductInTheBasesRowOrderAndLeavesTheRest) {
  Open(TinyModel("llama"));
  ASSERT_TRUE(MergeAdapter(*base_, adapter_, std::nullopt, out_, GoOn).ok());
  const auto merged = *GgufFile::Open(out_);
  const std::vector<LinearModule> modules = LinearModules(*ReadHyperparameters(*base_));
  for (const auto& [name, tensor] : TinyModel("llama").tensors) {
    std::vector<float> expected = Values(*base_, name);
    for (const LinearModule& module : modules) {
      const auto pair = adapter_.modules.find(module.peft_name);
      if (module.gguf_name != name || pair == adapter_.modules.end()) continue;
      for (int64_t i = 0; i < module.outputs; ++i) {
        const int64_t row = module.gguf_row_of.empty() ? i : module.gguf_row_of[static_cast<size_t>(i)];
        for (int64_t c = 0; c < module.inputs; ++c) {
          expected[static_cast<size_t>(row * module.inputs + c)] +=
              2.0f * pair->second.b.values[static_cast<size_t>(i)] * pair->second.a.values[static_cast<size_t>(c)];
        }
      }
    }
    const std::vector<float> values = Values(*merged, name);
    ASSERT_EQ(values.size(), expected.size());
    for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], expected[i], 1e-6) << name << " " << i;
  }
}

// The copy is aligned as the writer aligns, so it must not say that it is aligned as the base was.
TEST_F(Merge, ABaseOfAnotherAlignmentGivesAFileThatCanBeRead) {
  // Written with the writer's alignment of 32, a file may say 64 where its header happens to end at a multiple of 64,
  // since every tensor here is a multiple of 64 bytes. A string brings the header there.
  for (size_t padding = 0; padding < 64; padding += 16) {
    TinyModel model("llama");
    model.strings["padding"] = std::string(padding, 'x');
    model.Write(base_path_);
    const std::string plain = *ReadFile(base_path_);
    auto writer = *GgufWriter::Create(base_path_);
    const auto original = *GgufFile::Parse(std::as_bytes(std::span(plain)), "plain");
    writer->AddUint32("general.alignment", 64);
    for (const auto& [key, value] : original->metadata()) ASSERT_TRUE(writer->CopyMetadata(*original, key).ok());
    for (const auto& [name, tensor] : model.tensors) writer->DeclareTensor(name, BlockType::kF32, tensor.extent);
    for (const auto& [name, tensor] : model.tensors) {
      ASSERT_TRUE(writer->Append(std::as_bytes(std::span(tensor.values))).ok());
    }
    ASSERT_TRUE(writer->Finish().ok());
    const auto base = GgufFile::Open(base_path_);
    if (base.ok() && Values(**base, "output.weight") == model.tensors.at("output.weight").values) {
      base_ = *base;
      break;
    }
  }
  ASSERT_NE(base_, nullptr);
  ASSERT_EQ(base_->IntegerOr("general.alignment", 0), 64);
  adapter_ = OfRankOne(LinearModules(*ReadHyperparameters(*base_)));
  ASSERT_TRUE(MergeAdapter(*base_, adapter_, std::nullopt, out_, GoOn).ok());
  const auto merged = GgufFile::Open(out_);
  ASSERT_TRUE(merged.ok()) << Message(merged.status());
  EXPECT_EQ((*merged)->FindValue("general.alignment"), nullptr);
  EXPECT_EQ(Values(**merged, "output.weight"), Values(*base_, "output.weight"));
}

TEST_F(Merge, TheBaseIsNotOverwritten) {
  Open(TinyModel("glm4"));
  const std::string before = *ReadFile(base_path_);
  std::filesystem::create_symlink(base_path_, folder_->path() / "link.gguf");
  for (const std::filesystem::path& out :
       {base_path_, folder_->path() / "." / "base.gguf", folder_->path() / "link.gguf"}) {
    EXPECT_EQ(ExitCodeOf(MergeAdapter(*base_, adapter_, std::nullopt, out, GoOn)), ExitCode::kUsage) << out;
    EXPECT_EQ(ExitCodeOf(ExportGgufLora(adapter_, *base_, out)), ExitCode::kUsage) << out;
  }
  EXPECT_EQ(*ReadFile(base_path_), before);
}

TEST_F(Merge, StoppedHalfwayItLeavesNothing) {
  Open(TinyModel("glm4"));
  const auto stop = [](int64_t done, const std::string&) {
    return done < 5 ? absl::OkStatus() : CancelledError("stopped");
  };
  EXPECT_EQ(MergeAdapter(*base_, adapter_, std::nullopt, out_, stop).code(), absl::StatusCode::kCancelled);
  const auto entries = std::filesystem::directory_iterator(folder_->path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1) << "only the base is there";
}

}  // namespace
}  // namespace fedglm
