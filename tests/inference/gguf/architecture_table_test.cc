#include "inference/gguf/architecture_table.h"

#include <gtest/gtest.h>

#include <set>

#include "base/file.h"
#include "inference/gguf/architecture.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

// A name that is none's is an error that lists what is there: nothing may fall back to another architecture.
TEST(ArchitectureTable, AnUnknownNameIsAnErrorThatListsTheKnownOnes) {
  for (const char* unknown : {"mamba", "", "glm", "llama4", "LLAMA"}) {
    const absl::Status of_file = FindArchitecture(unknown).status();
    const absl::Status of_checkpoint = FindCheckpointArchitecture(unknown).status();
    EXPECT_EQ(ExitCodeOf(of_file), ExitCode::kBadInputFile) << unknown;
    EXPECT_EQ(ExitCodeOf(of_checkpoint), ExitCode::kBadInputFile) << unknown;
    for (const Architecture& architecture : Architectures()) {
      EXPECT_NE(Message(of_file).find(architecture.name), std::string::npos) << Message(of_file);
      for (const CheckpointType& type : architecture.checkpoint_types) {
        EXPECT_NE(Message(of_checkpoint).find(type.model_type), std::string::npos) << Message(of_checkpoint);
      }
    }
  }
  EXPECT_EQ(Message(FindArchitecture(std::string(1000, 'x')).status()).find(std::string(65, 'x')), std::string::npos);
}

TEST(ArchitectureTable, NamesAreThereOnce) {
  std::set<std::string_view> names, types;
  for (const Architecture& architecture : Architectures()) {
    EXPECT_TRUE(names.insert(architecture.name).second) << architecture.name;
    EXPECT_EQ(*FindArchitecture(architecture.name), &architecture);
    for (const CheckpointType& type : architecture.checkpoint_types) {
      EXPECT_TRUE(types.insert(type.model_type).second) << type.model_type;
      EXPECT_EQ(FindCheckpointArchitecture(type.model_type)->architecture, &architecture);
      EXPECT_EQ(FindCheckpointArchitecture(type.model_type)->part, type.part);
    }
    std::set<std::string_view> tensors;
    for (const NormRow& norm : architecture.norms) EXPECT_TRUE(tensors.insert(norm.gguf).second) << norm.gguf;
    for (const LinearRow& linear : architecture.linears) EXPECT_TRUE(tensors.insert(linear.gguf).second) << linear.gguf;
  }
}

class EveryArchitecture : public testing::TestWithParam<Architecture> {
 protected:
  absl::StatusOr<Hyperparameters> Read(const TinyModel& model) {
    const std::filesystem::path path = folder_.path() / "model.gguf";
    model.Write(path);
    FEDGLM_ASSIGN_OR_RETURN(const auto file, GgufFile::Open(path));
    return ReadHyperparameters(*file);
  }
  TemporaryDirectory folder_ = *TemporaryDirectory::Make();
};

TEST_P(EveryArchitecture, HyperparametersComeBackAsTheyWereWritten) {
  const auto h = Read(TinyModel(std::string(GetParam().name)));
  ASSERT_TRUE(h.ok()) << Message(h.status());
  EXPECT_EQ(h->architecture->name, GetParam().name);
  EXPECT_EQ(h->rotary_layout, GetParam().rotary_layout);
  // The keys of WriteHyperparameters, with the tensors of the tiny model.
  TinyModel tensors(std::string(GetParam().name));
  const std::filesystem::path path = folder_.path() / "again.gguf";
  Hyperparameters changed = *h;
  changed.name = "again", changed.rotary_base = 123, changed.rotary_scale = 0.25, changed.rms_epsilon = 0.5;
  changed.context_length = 77;
  {
    auto writer = *GgufWriter::Create(path);
    WriteHyperparameters(changed, *writer);
    for (const auto& [name, tensor] : tensors.tensors) writer->DeclareTensor(name, BlockType::kF32, tensor.extent);
    for (const auto& [name, tensor] : tensors.tensors) {
      ASSERT_TRUE(writer->Append(std::as_bytes(std::span(tensor.values))).ok());
    }
    ASSERT_TRUE(writer->Finish().ok());
  }
  const auto again = ReadHyperparameters(**GgufFile::Open(path));
  ASSERT_TRUE(again.ok()) << Message(again.status());
  EXPECT_EQ(again->name, "again");
  EXPECT_EQ(again->architecture, changed.architecture);
  EXPECT_EQ(again->rotary_base, 123);
  EXPECT_EQ(again->rotary_scale, 0.25);
  EXPECT_EQ(again->rms_epsilon, 0.5);
  for (const auto member : {&Hyperparameters::vocabulary, &Hyperparameters::context_length, &Hyperparameters::layers,
                            &Hyperparameters::hidden, &Hyperparameters::feed_forward, &Hyperparameters::heads,
                            &Hyperparameters::kv_heads, &Hyperparameters::head_size, &Hyperparameters::rotary_size}) {
    EXPECT_EQ((*again).*member, changed.*member);
  }
}

// Without any one of its row's tensors a model is refused, and with one that is only another's.
TEST_P(EveryArchitecture, ATensorOfTheRowIsNeededAndNoOtherIsTaken) {
  const std::string name(GetParam().name);
  std::vector<std::string> needed = {"token_embd.weight", "output_norm.weight"};
  for (const NormRow& norm : GetParam().norms) needed.push_back("blk.1." + std::string(norm.gguf) + ".weight");
  for (const LinearRow& linear : GetParam().linears) {
    needed.push_back("blk.1." + std::string(linear.gguf) + ".weight");
    if (linear.qkv && GetParam().always_qkv_bias) needed.push_back("blk.1." + std::string(linear.gguf) + ".bias");
  }
  for (const std::string& tensor : needed) {
    TinyModel model(name);
    ASSERT_EQ(model.tensors.erase(tensor), 1u) << tensor;
    EXPECT_NE(Message(Read(model).status()).find(tensor), std::string::npos) << tensor;
  }
  for (const Architecture& other : Architectures()) {
    for (const NormRow& norm : other.norms) {
      if (GetParam().FindNorm(norm.gguf) != nullptr) continue;
      TinyModel model(name);
      model.Add("blk.0." + std::string(norm.gguf) + ".weight", {TinyModel::kHidden});
      EXPECT_NE(Message(Read(model).status()).find(norm.gguf), std::string::npos) << norm.gguf;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, EveryArchitecture, testing::ValuesIn(Architectures().begin(), Architectures().end()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace fedglm
