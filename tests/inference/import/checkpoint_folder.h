// A Hugging Face checkpoint that a test writes itself, or makes of a GGUF model by undoing what the import does.
#pragma once

#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "gtest/gtest.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"
#include "inference/quantization/codec.h"
#include "inference/quantization/half.h"

namespace fedglm {

struct CheckpointFolder {
  struct Tensor {
    std::vector<int64_t> shape;
    std::vector<float> values;
    std::string type = "F32";
  };
  Json config = Json::object(), tokenizer = Json::object(), tokenizer_config = Json::object();
  Json generation_config;  // null: not written
  std::map<std::string, Tensor> tensors;

  // In `shards` files with an index, or one without.
  void Write(const std::filesystem::path& folder, int shards = 1) const {
    std::filesystem::create_directories(folder);
    const auto write = [&](const std::string& name, const std::string& text) {
      ASSERT_TRUE(WriteFileAtomically(folder / name, text).ok());
    };
    write("config.json", DumpJson(config));
    write("tokenizer.json", DumpJson(tokenizer));
    write("tokenizer_config.json", DumpJson(tokenizer_config));
    if (!generation_config.is_null()) write("generation_config.json", DumpJson(generation_config));
    std::vector<std::map<std::string, Tensor>> parts(static_cast<size_t>(shards));
    size_t next = 0;
    for (const auto& [name, tensor] : tensors) parts[next++ % parts.size()][name] = tensor;
    if (shards == 1) return write("model.safetensors", Safetensors(parts.front()));
    Json map = Json::object();
    for (size_t i = 0; i < parts.size(); ++i) {
      const std::string number = std::to_string(i + 1), count = std::to_string(shards);
      const std::string file = "model-0000" + number + "-of-0000" + count + ".safetensors";
      write(file, Safetensors(parts[i]));
      for (const auto& [name, tensor] : parts[i]) map[name] = file;
    }
    write("model.safetensors.index.json", DumpJson(Json{{"metadata", {{"total_size", 1}}}, {"weight_map", map}}));
  }

  static std::string Safetensors(const std::map<std::string, Tensor>& tensors) {
    Json header = {{"__metadata__", {{"format", "pt"}}}};
    std::string data;
    for (const auto& [name, tensor] : tensors) {
      const size_t begin = data.size();
      for (const float value : tensor.values) {
        const uint16_t half = tensor.type == "F16" ? FloatToHalf(value) : FloatToBfloat16(value);
        if (tensor.type == "F32") {
          data.append(reinterpret_cast<const char*>(&value), sizeof(value));
        } else {
          data.append(reinterpret_cast<const char*>(&half), sizeof(half));
        }
      }
      header[name] = {{"dtype", tensor.type}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
    }
    const std::string text = DumpJson(header);
    const uint64_t size = text.size();
    return std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text + data;
  }

  // Keys and texts that a GGUF's vocabulary came from.
  void SetVocabulary(const GgufFile& file, const Json& pre_tokenizer) {
    const GgufArray& tokens = *file.FindArray("tokenizer.ggml.tokens");
    const GgufArray& kinds = *file.FindArray("tokenizer.ggml.token_type");
    Json vocabulary = Json::object(), added = Json::array();
    for (size_t i = 0; i < tokens.strings.size(); ++i) {
      if (kinds.integers[i] == 1) {
        vocabulary[tokens.strings[i]] = i;
      } else {
        added.push_back({{"id", i}, {"content", tokens.strings[i]}, {"special", kinds.integers[i] == 3}});
      }
    }
    Json merges = Json::array();
    for (const std::string& merge : file.FindArray("tokenizer.ggml.merges")->strings) {
      merges.push_back({merge.substr(0, merge.find(' ')), merge.substr(merge.find(' ') + 1)});
    }
    tokenizer = {{"added_tokens", added},
                 {"normalizer", nullptr},
                 {"pre_tokenizer", pre_tokenizer},
                 {"model",
                  {{"type", "BPE"},
                   {"byte_fallback", false},
                   {"ignore_merges", true},
                   {"vocab", vocabulary},
                   {"merges", merges}}}};
  }

  // Everything of a model in float32, in Hugging Face's names, shapes and order of rows.
  static CheckpointFolder FromGguf(const GgufFile& file) {
    CheckpointFolder folder;
    const Hyperparameters h = *ReadHyperparameters(file);
    folder.config = {{"model_type", std::string(h.architecture->checkpoint_types.front().model_type)},
                     {"hidden_size", h.hidden},
                     {"intermediate_size", h.feed_forward},
                     {"num_hidden_layers", h.layers},
                     {"num_attention_heads", h.heads},
                     {"num_key_value_heads", h.kv_heads},
                     {"head_dim", h.head_size},
                     {"vocab_size", h.vocabulary},
                     {"max_position_embeddings", h.context_length},
                     {"rms_norm_eps", h.rms_epsilon},
                     {"rope_theta", h.rotary_base},
                     {"rope_scaling", nullptr},
                     {"hidden_act", "silu"},
                     {"attention_bias", file.FindTensor("blk.0.attn_v.bias") != nullptr},
                     {"tie_word_embeddings", h.tied_embeddings},
                     {"partial_rotary_factor", static_cast<double>(h.rotary_size) / static_cast<double>(h.head_size)}};
    const auto put = [&](const std::string& gguf_name, const std::string& name,
                         const std::vector<int32_t>& gguf_row_of) {
      const GgufTensor* const tensor = file.FindTensor(gguf_name);
      if (tensor == nullptr) return;
      const int64_t rows = tensor->rows(), columns = tensor->columns();
      std::vector<float> all(static_cast<size_t>(rows * columns)), ordered = all;
      for (int64_t r = 0; r < rows; ++r) {
        DecodeRow(tensor->type, tensor->AsMatrix().Row(r), all.data() + r * columns, columns);
      }
      const int64_t width = tensor->dimensions == 1 ? 1 : columns;  // of what is permuted: rows, or a bias's numbers
      for (int64_t i = 0; i < rows * columns / width; ++i) {
        const int64_t from = gguf_row_of.empty() ? i : gguf_row_of[static_cast<size_t>(i)];
        std::copy_n(all.data() + from * width, width, ordered.data() + i * width);
      }
      const std::vector<int64_t> shape = tensor->dimensions == 1 ? std::vector{columns} : std::vector{rows, columns};
      folder.tensors[name] = {shape, ordered};
    };
    put("token_embd.weight", "model.embed_tokens.weight", {});
    put("output_norm.weight", "model.norm.weight", {});
    put("output.weight", "lm_head.weight", {});
    for (const LinearModule& module : LinearModules(h)) {
      put(module.gguf_name, module.peft_name + ".weight", module.gguf_row_of);
      const std::string stem = module.gguf_name.substr(0, module.gguf_name.size() - 6);
      put(stem + "bias", module.peft_name + ".bias", module.gguf_row_of);
    }
    for (int64_t layer = 0; layer < h.layers; ++layer) {
      const std::string number = std::to_string(layer);
      const std::string gguf = "blk." + number + ".", model = "model.layers." + number + ".";
      for (const NormRow& norm : h.architecture->norms) {
        put(gguf + std::string(norm.gguf) + ".weight", model + std::string(norm.checkpoint) + ".weight", {});
      }
    }
    return folder;
  }
};

// The pre-tokenizer of Llama 3 and GLM-4, as their tokenizer.json spell it.
inline Json Cl100kPretokenizer() {
  return {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"},
         {"pattern",
          {{"Regex", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
                     R"(\s*[\r\n]+|\s+(?!\S)|\s+)"}}},
         {"behavior", "Isolated"},
         {"invert", false}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}}}}};
}

}  // namespace fedglm
