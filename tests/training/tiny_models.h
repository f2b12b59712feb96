// Small random models of any architecture, and records for them. The tokenizer is the golden model's.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "inference/gguf/gguf_writer.h"
#include "inference/gguf/new_adapter.h"
#include "inference/quantization/codec.h"
#include "tests/support/golden.h"

namespace fedglm {

constexpr char kGoldenModel[] = "golden/glm4-tiny-q4_k_m.gguf";
constexpr char kGoldenLora[] = "golden/glm4-tiny-lora";

struct TinyShape {
  std::string architecture = "llama";
  bool m_rope = false;  // of glm4
  bool tied_embeddings = true;
  BlockType type = BlockType::kQ8_0;
  int64_t layers = 2, hidden = 64, feed_forward = 96, heads = 4, kv_heads = 2;
  int64_t head_size = 0;  // 0: hidden / heads
};

struct TinyTensor {
  std::string name;
  int64_t columns, rows;  // rows 0: a vector
};

inline Hyperparameters HyperparametersOf(const TinyShape& s, int64_t vocabulary) {
  Hyperparameters h;
  h.architecture = *FindArchitecture(s.architecture);
  h.name = "tiny";
  h.vocabulary = vocabulary;
  h.context_length = 512;
  h.layers = s.layers, h.hidden = s.hidden, h.feed_forward = s.feed_forward;
  h.heads = s.heads, h.kv_heads = s.kv_heads, h.head_size = s.head_size > 0 ? s.head_size : s.hidden / s.heads;
  h.rotary_size = static_cast<int64_t>(static_cast<double>(h.head_size) * h.architecture->rotary_part);
  h.tied_embeddings = s.tied_embeddings;
  return h;
}

inline std::vector<TinyTensor> TensorsOfTinyModel(const TinyShape& s, int64_t vocabulary) {
  const Hyperparameters h = HyperparametersOf(s, vocabulary);
  std::vector<TinyTensor> tensors = {{"token_embd.weight", h.hidden, vocabulary}, {"output_norm.weight", h.hidden, 0}};
  if (!h.tied_embeddings) tensors.push_back({"output.weight", h.hidden, vocabulary});
  if (s.architecture == "llama") tensors.push_back({"rope_freqs.weight", h.rotary_size / 2, 0});
  for (int64_t layer = 0; layer < h.layers; ++layer) {
    const auto add = [&](std::string_view name, const char* what, int64_t columns, int64_t rows) {
      tensors.push_back({"blk." + std::to_string(layer) + "." + std::string(name) + what, columns, rows});
    };
    for (const NormRow& norm : h.architecture->norms) add(norm.gguf, ".weight", h.Size(norm.width), 0);
    for (const LinearRow& row : h.architecture->linears) {
      add(row.gguf, ".weight", h.Size(row.inputs), h.Size(row.outputs));
      if (row.qkv) add(row.gguf, ".bias", h.Size(row.outputs), 0);
    }
  }
  return tensors;
}

// Matrices from N(0, 4/inputs), so that logits differ much from token to token, norms and frequency factors around 1.
inline absl::Status WriteTinyModel(const std::filesystem::path& path, const TinyShape& s, uint32_t seed) {
  FEDGLM_ASSIGN_OR_RETURN(const auto golden, GgufFile::Open(GoldenPath(kGoldenModel)));
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufWriter> writer, GgufWriter::Create(path));
  const int64_t vocabulary = (*golden->RequireTensor("token_embd.weight"))->rows();
  WriteHyperparameters(HyperparametersOf(s, vocabulary), *writer);
  if (s.m_rope) writer->AddInt32s("glm4.rope.dimension_sections", {2, 1, 1, 0});
  for (const auto& [key, value] : golden->metadata()) {
    if (key.rfind("tokenizer.", 0) == 0) FEDGLM_RETURN_IF_ERROR(writer->CopyMetadata(*golden, key));
  }
  const std::vector<TinyTensor> tensors = TensorsOfTinyModel(s, vocabulary);
  for (const TinyTensor& tensor : tensors) {
    std::vector<int64_t> extent = {tensor.columns};
    if (tensor.rows > 0) extent.push_back(tensor.rows);
    writer->DeclareTensor(tensor.name, tensor.rows > 0 ? s.type : BlockType::kF32, extent);
  }
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (const TinyTensor& tensor : tensors) {
    const bool vector = tensor.rows == 0, bias = tensor.name.ends_with(".bias");
    const BlockType type = vector ? BlockType::kF32 : s.type;
    std::vector<float> row(static_cast<size_t>(tensor.columns));
    std::vector<std::byte> blocks(static_cast<size_t>(RowBytes(type, tensor.columns)));
    const float deviation = 2.0f / std::sqrt(static_cast<float>(tensor.columns));
    for (int64_t r = 0; r < std::max<int64_t>(1, tensor.rows); ++r) {
      for (float& w : row)
        w = bias ? 0.3f * normal(random) : vector ? std::exp(0.2f * normal(random)) : deviation * normal(random);
      FEDGLM_RETURN_IF_ERROR(EncodeRow(type, row.data(), blocks.data(), tensor.columns));
      FEDGLM_RETURN_IF_ERROR(writer->Append(blocks));
    }
  }
  return writer->Finish();
}

// A new adapter with a B that is not zero, so that A has a gradient too.
inline Adapter RandomAdapter(const Hyperparameters& h, int64_t rank, uint32_t seed) {
  AdapterConfig config;
  config.rank = rank;
  config.alpha = static_cast<double>(rank);
  Adapter adapter = *MakeNewAdapter(h, "", config, seed);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (auto& [name, pair] : adapter.modules) {
    for (float& value : pair.b.values) value = 0.2f * normal(random);
  }
  return adapter;
}

// `count` records of all three forms, of different lengths; no two alike for different `first`.
inline std::string SomeRecords(int count, int first = 0) {
  static const char* const kFindings[] = {"nodule in the left lung", "no effusion", "fracture of the distal radius",
                                          "liver of normal size",    "small cyst",  "disc height is preserved"};
  std::string text;
  for (int i = first; i < first + count; ++i) {
    const std::string finding = kFindings[i % 6], number = std::to_string(i);
    if (i % 3 == 0) {
      text += "{\"messages\":[{\"role\":\"user\",\"content\":\"case " + number + ": " + finding +
              "\"},{\"role\":\"assistant\",\"content\":\"see " + finding + "\"}]}\n";
    } else if (i % 3 == 1) {
      text += "{\"prompt\":\"case " + number + "\",\"completion\":\" " + finding + "\"}\n";
    } else {
      text += "{\"text\":\"" + number + " " + finding + ", " + kFindings[(i + 2) % 6] + "\"}\n";
    }
  }
  return text;
}

}  // namespace fedglm
