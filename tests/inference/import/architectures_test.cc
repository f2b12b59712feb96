// What a file of an architecture holds comes back from the checkpoint that it would have come from.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/json.h"
#include "inference/import/import_checkpoint.h"
#include "tests/inference/import/checkpoint_folder.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

absl::Status GoOn(int64_t, const std::string&) { return absl::OkStatus(); }

class ImportedArchitecture : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    TinyModel(GetParam()).Write(Path("tiny.gguf"));
    tiny_ = *GgufFile::Open(Path("tiny.gguf"));
    checkpoint_ = CheckpointFolder::FromGguf(*tiny_);
    Json vocabulary = Json::object();
    for (int i = 0; i < 26; ++i) vocabulary[std::string(1, static_cast<char>('a' + i))] = i;
    checkpoint_.tokenizer = {{"added_tokens", Json::array()},
                             {"pre_tokenizer", Cl100kPretokenizer()},
                             {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", Json::array()}}}};
  }

  std::filesystem::path Path(const std::string& name) const { return folder_.path() / name; }
  absl::StatusOr<std::shared_ptr<const GgufFile>> Import() {
    checkpoint_.Write(Path("checkpoint"));
    FEDGLM_RETURN_IF_ERROR(ImportCheckpoint(Path("checkpoint"), Path("out.gguf"), {}, GoOn).status());
    return GgufFile::Open(Path("out.gguf"));
  }

  TemporaryDirectory folder_ = *TemporaryDirectory::Make();
  std::shared_ptr<const GgufFile> tiny_;
  CheckpointFolder checkpoint_;
};

TEST_P(ImportedArchitecture, HasTheTensorsAndHyperparametersThatItCameFrom) {
  const auto imported = Import();
  ASSERT_TRUE(imported.ok()) << Message(imported.status());
  const GgufFile& ours = **imported;
  EXPECT_EQ(ours.StringOr("general.architecture", ""), GetParam());
  EXPECT_EQ(ours.tensors().size(), tiny_->tensors().size());
  for (const GgufTensor& tensor : tiny_->tensors()) {
    const GgufTensor* const other = ours.FindTensor(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    EXPECT_EQ(other->extent, tensor.extent) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(other->bytes, tensor.bytes)) << tensor.name;
  }
  const auto h = *ReadHyperparameters(ours), expected = *ReadHyperparameters(*tiny_);
  EXPECT_EQ(h.architecture, expected.architecture);
  EXPECT_EQ(h.rotary_layout, expected.rotary_layout);
  EXPECT_EQ(h.rotary_size, expected.rotary_size);
  EXPECT_EQ(h.head_size, expected.head_size);
}

// transformers has a size of its own for a Qwen3 that does not say it; others divide.
TEST_P(ImportedArchitecture, HasHeadsOfTheUsualSizeIfTheCheckpointSaysNone) {
  checkpoint_.config.erase("head_dim");
  const int64_t usual = (*FindArchitecture(GetParam()))->head_size;
  const auto imported = Import();
  if (usual == 0) {
    EXPECT_TRUE(imported.ok()) << Message(imported.status());
  } else {
    const std::string message = Message(imported.status());
    EXPECT_NE(message.find("is 8, expected " + std::to_string(usual)), std::string::npos) << message;
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, ImportedArchitecture, testing::ValuesIn(ArchitectureNames()));

}  // namespace
}  // namespace fedglm
