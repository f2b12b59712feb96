// A model of random weights, of any architecture, that a test writes itself: two layers, hidden 32, four heads of 8,
// two K/V heads, vocabulary 40, float32, no vocabulary file. What makes a test's model special is put into `metadata`
// and `tensors` before Write().
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "inference/gguf/architecture_table.h"
#include "inference/gguf/gguf_writer.h"
#include "inference/gguf/token.h"

namespace fedglm {

struct TinyModel {
  struct Tensor {
    std::vector<int64_t> extent;  // as in GgufTensor: columns first
    std::vector<float> values;
  };
  static constexpr int64_t kHidden = 32, kHeads = 4, kKvHeads = 2, kHeadSize = 8, kFeedForward = 24, kVocabulary = 40;

  std::string architecture;
  std::map<std::string, uint32_t> integers;  // keys without "ARCHITECTURE."
  std::map<std::string, float> numbers;
  std::map<std::string, std::string> strings;
  std::map<std::string, std::vector<int32_t>> arrays;
  std::map<std::string, std::string> texts;               // whole keys
  std::map<std::string, std::vector<std::string>> lists;  // whole keys
  std::map<std::string, Tensor> tensors;
  std::mt19937 random{7};

  explicit TinyModel(std::string kind, int64_t layers = 2) : architecture(std::move(kind)) {
    const bool glm = architecture == "glm4";
    integers = {{"block_count", static_cast<uint32_t>(layers)},
                {"context_length", 128},
                {"embedding_length", kHidden},
                {"feed_forward_length", kFeedForward},
                {"attention.head_count", kHeads},
                {"attention.head_count_kv", kKvHeads},
                {"rope.dimension_count", glm ? kHeadSize / 2 : kHeadSize}};
    numbers = {{"attention.layer_norm_rms_epsilon", 1e-5f}, {"rope.freq_base", 100.0f}};
    Add("token_embd.weight", {kHidden, kVocabulary});
    Add("output.weight", {kHidden, kVocabulary});
    Add("output_norm.weight", {kHidden}, 1.0f);
    for (int64_t layer = 0; layer < layers; ++layer) AddLayer(layer);
  }

  void Add(const std::string& name, const std::vector<int64_t>& extent, float mean = 0) {
    std::normal_distribution<float> normal(mean, 0.2f);
    Tensor tensor{extent, {}};
    int64_t count = 1;
    for (const int64_t e : extent) count *= e;
    for (int64_t i = 0; i < count; ++i) tensor.values.push_back(normal(random));
    tensors[name] = std::move(tensor);
  }

  void AddLayer(int64_t layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    const bool glm = architecture == "glm4";
    for (const char* norm : {"attn_norm", "ffn_norm"}) Add(prefix + norm + ".weight", {kHidden}, 1.0f);
    Add(prefix + "attn_q.weight", {kHidden, kHeads * kHeadSize});
    Add(prefix + "attn_k.weight", {kHidden, kKvHeads * kHeadSize});
    Add(prefix + "attn_v.weight", {kHidden, kKvHeads * kHeadSize});
    Add(prefix + "attn_q.bias", {kHeads * kHeadSize});
    Add(prefix + "attn_k.bias", {kKvHeads * kHeadSize});
    Add(prefix + "attn_output.weight", {kHeads * kHeadSize, kHidden});
    Add(prefix + "ffn_down.weight", {kFeedForward, kHidden});
    if (glm) {
      for (const char* norm : {"post_attention_norm", "post_ffw_norm"}) Add(prefix + norm + ".weight", {kHidden}, 1.0f);
      Add(prefix + "ffn_up.weight", {kHidden, 2 * kFeedForward});
    } else {
      Add(prefix + "ffn_gate.weight", {kHidden, kFeedForward});
      Add(prefix + "ffn_up.weight", {kHidden, kFeedForward});
    }
    // What the rows of others have beside these.
    const absl::StatusOr<const Architecture*> row = FindArchitecture(architecture);
    ASSERT_TRUE(row.ok());
    if ((*row)->always_qkv_bias) Add(prefix + "attn_v.bias", {kKvHeads * kHeadSize});
    for (const NormRow& norm : (*row)->norms) {
      const std::string name = prefix + std::string(norm.gguf) + ".weight";
      if (!tensors.contains(name)) Add(name, {norm.width == Extent::kHead ? kHeadSize : kHidden}, 1.0f);
    }
  }

  void Write(const std::filesystem::path& path) const {
    auto writer = *GgufWriter::Create(path);
    writer->AddString("general.architecture", architecture);
    const std::string prefix = architecture + ".";
    for (const auto& [key, value] : integers) writer->AddUint32(prefix + key, value);
    for (const auto& [key, value] : numbers) writer->AddFloat32(prefix + key, value);
    for (const auto& [key, value] : strings) writer->AddString(prefix + key, value);
    for (const auto& [key, value] : arrays) writer->AddInt32s(prefix + key, value);
    for (const auto& [key, value] : texts) writer->AddString(key, value);
    for (const auto& [key, value] : lists) writer->AddStrings(key, value);
    for (const auto& [name, tensor] : tensors) writer->DeclareTensor(name, BlockType::kF32, tensor.extent);
    for (const auto& [name, tensor] : tensors) {
      ASSERT_TRUE(writer->Append(std::as_bytes(std::span(tensor.values))).ok());
    }
    ASSERT_TRUE(writer->Finish().ok());
  }
};

// Of every row of the table, as parameters of a test.
inline std::vector<const char*> ArchitectureNames() {
  std::vector<const char*> names;
  for (const Architecture& architecture : Architectures()) names.push_back(architecture.name.data());
  return names;
}

// Token ids of its vocabulary.
inline std::vector<Token> RandomTokens(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Token> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<Token>(random() % TinyModel::kVocabulary));
  return tokens;
}

}  // namespace fedglm
