#include "bench/random_model.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <span>

#include "bench/random_blocks.h"
#include "inference/tokenizer/byte_encoding.h"

namespace fedglm::bench {
namespace {

// llama.cpp's token types.
constexpr int32_t kNormalToken = 1, kControlToken = 3;
constexpr size_t kChunkBlocks = 4096;  // written at a time

struct PlannedTensor {
  std::string name;
  BlockType type;
  std::vector<int64_t> extent;  // GGUF's order: columns first
  float mean, deviation;        // of its weights
};

// The tensors in the order in which a token meets them: streaming a layer is then one sequential read.
class TensorPlan {
 public:
  explicit TensorPlan(const RandomModelOptions& options) : options_(options), shape_(options.shape) {
    AddMatrix("token_embd.weight", shape_.hidden, shape_.vocabulary, 1.0f);
    for (int64_t layer = 0; layer < shape_.layers; ++layer) AddLayer("blk." + std::to_string(layer) + ".");
    AddNorm("output_norm.weight", shape_.hidden, 1.0f);
    if (shape_.tied_embeddings) return;
    AddMatrix("output.weight", shape_.hidden, shape_.vocabulary, Deviation(shape_.hidden));
    tensors_.back().type = Fitting(options_.output_type, shape_.hidden);
  }
  const std::vector<PlannedTensor>& tensors() const { return tensors_; }

 private:
  // Keeps the size of what it multiplies.
  static float Deviation(int64_t columns) { return 1.0f / std::sqrt(static_cast<float>(columns)); }

  static BlockType Fitting(BlockType type, int64_t columns) {
    return columns % FactsOf(type).weights_per_block == 0 ? type : BlockType::kF16;
  }
  void AddMatrix(const std::string& name, int64_t columns, int64_t rows, float deviation) {
    tensors_.push_back({name, Fitting(options_.type, columns), {columns, rows}, 0.0f, deviation});
  }
  void AddNorm(const std::string& name, int64_t width, float mean) {
    tensors_.push_back({name, BlockType::kF32, {width}, mean, 0.05f});
  }

  // Nothing if the architecture has none of this name, here and below.
  void AddLayerNorm(const std::string& prefix, std::string_view name, float mean) {
    const NormRow* const row = shape_.architecture->FindNorm(name);
    if (row != nullptr) AddNorm(prefix + std::string(name) + ".weight", shape_.Size(row->width), mean);
  }
  void AddLinear(const std::string& prefix, std::string_view name, float share = 1.0f) {
    const LinearRow* const row = shape_.architecture->FindLinear(name);
    if (row == nullptr) return;
    const int64_t inputs = shape_.Size(row->inputs), outputs = shape_.Size(row->outputs);
    AddMatrix(prefix + std::string(name) + ".weight", inputs, outputs, Deviation(inputs) * share);
  }
  void AddBiases(const std::string& prefix) {
    for (const LinearRow& row : shape_.architecture->linears) {
      if (!row.qkv || !shape_.qkv_bias) continue;
      tensors_.push_back(
          {prefix + std::string(row.gguf) + ".bias", BlockType::kF32, {shape_.Size(row.outputs)}, 0.0f, 0.1f});
    }
  }

  void AddLayer(const std::string& prefix) {
    // 2 x layers additions: each small enough that their sum is of the embedding's size. GLM-4 norms what it adds.
    const float share = 1.0f / std::sqrt(2.0f * static_cast<float>(shape_.layers));
    const float unless_normed = shape_.architecture->FindNorm("post_attention_norm") != nullptr ? 1.0f : share;
    AddLayerNorm(prefix, "attn_norm", 1.0f);
    for (const char* name : {"attn_q", "attn_k", "attn_v"}) AddLinear(prefix, name);
    AddBiases(prefix);
    for (const char* name : {"attn_q_norm", "attn_k_norm"}) AddLayerNorm(prefix, name, 1.0f);
    AddLinear(prefix, "attn_output", unless_normed);
    AddLayerNorm(prefix, "post_attention_norm", share);
    AddLayerNorm(prefix, "ffn_norm", 1.0f);
    AddLinear(prefix, "ffn_gate");
    AddLinear(prefix, "ffn_up");
    AddLinear(prefix, "ffn_down", unless_normed);
    AddLayerNorm(prefix, "post_ffw_norm", share);
  }

  const RandomModelOptions& options_;
  const Hyperparameters& shape_;
  std::vector<PlannedTensor> tensors_;
};

// The 256 bytes, as many pairs and then triples of bytes as fit, and the control tokens last: as many entries and
// merges to load as a trained vocabulary of this size has.
void AddVocabulary(const Hyperparameters& shape, GgufWriter& writer) {
  const Architecture& architecture = *shape.architecture;
  const bool glm = architecture.control_tokens.begin == "[gMASK]";
  const std::vector<std::string> controls =
      glm ? std::vector<std::string>{"<|endoftext|>", "[gMASK]",       "<sop>",          "<|system|>",
                                     "<|user|>",      "<|assistant|>", "<|observation|>"}
          : std::vector<std::string>{"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  const size_t normal = static_cast<size_t>(shape.vocabulary) - controls.size();
  std::vector<std::string> tokens, merges;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(ByteCharacter(static_cast<unsigned char>(byte)));
  for (size_t first = 0; tokens.size() < normal; ++first) {
    for (size_t second = 0; second < 256 && tokens.size() < normal; ++second) {
      merges.push_back(tokens[first] + " " + tokens[second]);
      tokens.push_back(tokens[first] + tokens[second]);
    }
  }
  const uint32_t end = static_cast<uint32_t>(tokens.size());
  std::vector<int32_t> types(tokens.size(), kNormalToken);
  tokens.insert(tokens.end(), controls.begin(), controls.end());
  types.resize(tokens.size(), kControlToken);
  writer.AddString("tokenizer.ggml.model", "gpt2");
  writer.AddString("tokenizer.ggml.pre",
                   architecture.pretokenizers.empty() ? "smollm" : architecture.pretokenizers.front());
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddInt32s("tokenizer.ggml.token_type", types);
  writer.AddStrings("tokenizer.ggml.merges", merges);
  writer.AddUint32("tokenizer.ggml.bos_token_id", end);
  writer.AddUint32("tokenizer.ggml.eos_token_id", end);
}

absl::Status AppendVector(const PlannedTensor& tensor, uint64_t seed, GgufWriter& writer) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(tensor.mean, tensor.deviation);
  std::vector<float> values(static_cast<size_t>(tensor.extent[0]));
  for (float& value : values) value = normal(random);
  return writer.Append(std::as_bytes(std::span(values)));
}

absl::Status AppendMatrix(const PlannedTensor& tensor, uint64_t seed, GgufWriter& writer) {
  FEDGLM_ASSIGN_OR_RETURN(RandomBlocks blocks, RandomBlocks::Make(tensor.type, tensor.deviation, seed));
  std::vector<std::byte> chunk(kChunkBlocks * static_cast<size_t>(FactsOf(tensor.type).bytes_per_block));
  int64_t left = RowBytes(tensor.type, tensor.extent[0]) * tensor.extent[1];
  while (left > 0) {
    const std::span<std::byte> part(chunk.data(), std::min(chunk.size(), static_cast<size_t>(left)));
    blocks.Fill(part);
    FEDGLM_RETURN_IF_ERROR(writer.Append(part));
    left -= static_cast<int64_t>(part.size());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<uint64_t> WriteRandomModel(const RandomModelOptions& options, const std::filesystem::path& path,
                                          const TensorProgress& progress) {
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufWriter> writer, GgufWriter::Create(path));
  Hyperparameters named = options.shape;
  named.name += " of random weights";
  WriteHyperparameters(named, *writer);
  writer->AddUint32("general.quantization_version", 2);
  AddVocabulary(options.shape, *writer);
  const TensorPlan plan(options);
  for (const PlannedTensor& tensor : plan.tensors()) writer->DeclareTensor(tensor.name, tensor.type, tensor.extent);
  int64_t done = 0;
  for (const PlannedTensor& tensor : plan.tensors()) {
    const uint64_t seed = options.seed * 1000003 + static_cast<uint64_t>(done);
    FEDGLM_RETURN_IF_ERROR(tensor.extent.size() == 1 ? AppendVector(tensor, seed, *writer)
                                                     : AppendMatrix(tensor, seed, *writer));
    FEDGLM_RETURN_IF_ERROR(progress(++done, tensor.name));
  }
  FEDGLM_RETURN_IF_ERROR(writer->Finish());
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(path, error);
  if (error) return FailedError(path.string() + ": " + error.message());
  return bytes;
}

}  // namespace fedglm::bench
