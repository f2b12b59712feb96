#include "inference/gguf/lora_gguf.h"

#include <set>

#include "gtest/gtest.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

TEST(LoraGguf, PeftFolderAndGgufFileAreOneAdapter) {
  const auto base = *GgufFile::Open(GoldenPath("golden/glm4-tiny-q4_k_m.gguf"));
  const auto peft = LoadAdapter(GoldenPath("golden/glm4-tiny-lora"));
  ASSERT_TRUE(peft.ok()) << Message(peft.status());
  const auto gguf = ImportGgufLora(GoldenPath("golden/glm4-tiny-lora.gguf"), *base);
  ASSERT_TRUE(gguf.ok()) << Message(gguf.status());
  EXPECT_EQ(peft->config.rank, 4);
  EXPECT_EQ(gguf->config.alpha, peft->config.alpha);
  EXPECT_EQ(gguf->modules, peft->modules);
}

TEST(LoraGguf, ExportIsReadBackAsTheSameAdapter) {
  const auto folder = TemporaryDirectory::Make();
  const auto base = *GgufFile::Open(GoldenPath("golden/glm4-tiny-q4_k_m.gguf"));
  const Adapter adapter = *LoadAdapter(GoldenPath("golden/glm4-tiny-lora"));
  ASSERT_TRUE(ExportGgufLora(adapter, *base, folder->path() / "lora.gguf").ok());
  const auto back = LoadAdapterFor(folder->path() / "lora.gguf", *base, "");
  ASSERT_TRUE(back.ok()) << Message(back.status());
  EXPECT_EQ(back->modules, adapter.modules);
}

TEST(LoraGguf, AnExportedAdapterStillKnowsItsBase) {
  const auto folder = TemporaryDirectory::Make();
  const auto base = *GgufFile::Open(GoldenPath("golden/glm4-tiny-q4_k_m.gguf"));
  Adapter adapter = *LoadAdapter(GoldenPath("golden/glm4-tiny-lora"));
  adapter.provenance = Provenance{};
  adapter.provenance->base_sha256 = std::string(64, 'a');
  ASSERT_TRUE(ExportGgufLora(adapter, *base, folder->path() / "lora.gguf").ok());
  EXPECT_TRUE(LoadAdapterFor(folder->path() / "lora.gguf", *base, std::string(64, 'a')).ok());
  EXPECT_EQ(ExitCodeOf(LoadAdapterFor(folder->path() / "lora.gguf", *base, std::string(64, 'b')).status()),
            ExitCode::kBadInputFile);
}

// PEFT on a GLM-4V, whose text model is one part of it.
TEST(LoraGguf, ModulesOfATextModelWithinALargerOneAreFound) {
  const auto folder = TemporaryDirectory::Make();
  const auto base = *GgufFile::Open(GoldenPath("golden/glm4-tiny-q4_k_m.gguf"));
  const Adapter plain = *LoadAdapter(GoldenPath("golden/glm4-tiny-lora"));
  const auto with_prefix = [&](const std::string& prefix) {
    Adapter adapter = plain;
    adapter.modules.clear();
    for (const auto& [name, pair] : plain.modules) adapter.modules[prefix + name.substr(name.find("layers."))] = pair;
    EXPECT_TRUE(SaveAdapter(adapter, folder->path() / "lora").ok());
    return LoadAdapterFor(folder->path() / "lora", *base, "");
  };
  for (const char* prefix : {"model.language_model.", "language_model.model.", ""}) {
    const auto adapter = with_prefix(prefix);
    ASSERT_TRUE(adapter.ok()) << Message(adapter.status());
    EXPECT_EQ(adapter->modules, plain.modules) << prefix;
  }
  EXPECT_EQ(ExitCodeOf(with_prefix("model.visual.").status()), ExitCode::kBadInputFile);
}

// Rows that both orders list must be a permutation, and there and back again must be where we began.
TEST(LoraGguf, OrdersAreInverseForLlamaAndForMRope) {
  for (const bool llama : {true, false}) {
    Hyperparameters h;
    h.architecture = *FindArchitecture(llama ? "llama" : "glm4");
    h.rotary_layout = llama ? RotaryLayout::kInterleaved : RotaryLayout::kNeox;
    h.layers = 1, h.hidden = 16, h.feed_forward = 8, h.heads = 2, h.kv_heads = 1, h.head_size = 8;
    h.rotary_size = llama ? 8 : 4;
    const std::vector<LinearModule> modules = LinearModules(h);
    Adapter adapter;
    adapter.config.rank = 1;
    for (const LinearModule& module : modules) {
      LoraPair pair = {Matrix::Zero(1, module.inputs), Matrix::Zero(module.outputs, 1)};
      for (int64_t i = 0; i < module.outputs; ++i) pair.b.values[static_cast<size_t>(i)] = static_cast<float>(i);
      adapter.modules[module.peft_name] = pair;
    }
    const Adapter gguf = *ToGgufOrder(adapter, modules);
    EXPECT_EQ(ToHuggingFaceOrder(gguf, modules)->modules, adapter.modules);
    const std::vector<float>& q = gguf.modules.at("model.layers.0.self_attn.q_proj").b.values;
    // llama: Hugging Face's halves (0…3 | 4…7) become pairs; glm4 with M-RoPE: pairs of the first four become halves.
    const std::vector<float> expected =
        llama ? std::vector<float>{0, 4, 1, 5, 2, 6, 3, 7} : std::vector<float>{0, 2, 1, 3, 4, 5, 6, 7};
    EXPECT_EQ(std::vector<float>(q.begin(), q.begin() + 8), expected);
    EXPECT_EQ(gguf.modules.at("model.layers.0.self_attn.v_proj"),
              adapter.modules.at("model.layers.0.self_attn.v_proj"));
  }
}

}  // namespace
}  // namespace fedglm
