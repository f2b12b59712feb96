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
    AddNorm("output_norm.weight", 1.0f);
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
  void AddNorm(const std::string& name, float mean) {
    tensors_.push_back({name, BlockType::kF32, {shape_.hidden}, mean, 0.05f});
  }
  void AddBias(const std::string& name, int64_t width) {
    tensors_.push_back({name, BlockType::kF32, {width}, 0.0f, 0.1f});
  }

  void AddLayer(const std::string& prefix) {
    const bool glm = shape_.kind == ArchitectureKind::kGlm4;
    // 2 x layers additions: each small enough that their sum is of the embedding's size. GLM-4 norms what it adds.
    const float share = 1.0f / std::sqrt(2.0f * static_cast<float>(shape_.layers));
    AddNorm(prefix + "attn_norm.weight", 1.0f);
    AddMatrix(prefix + "attn_q.weight", shape_.hidden, shape_.query_width(), Deviation(shape_.hidden));
    AddMatrix(prefix + "attn_k.weight", shape_.hidden, shape_.kv_width(), Deviation(shape_.hidden));
    AddMatrix(prefix + "attn_v.weight", shape_.hidden, shape_.kv_width(), Deviation(shape_.hidden));
    if (shape_.qkv_bias) {
      AddBias(prefix + "attn_q.bias", shape_.query_width());
      AddBias(prefix + "attn_k.bias", shape_.kv_width());
      AddBias(prefix + "attn_v.bias", shape_.kv_width());
    }
    AddMatrix(prefix + "attn_output.weight", shape_.query_width(), shape_.hidden,
              Deviation(shape_.query_width()) * (glm ? 1.0f : share));
    if (glm) AddNorm(prefix + "post_attention_norm.weight", share);
    AddNorm(prefix + "ffn_norm.weight", 1.0f);
    if (!glm) AddMatrix(prefix + "ffn_gate.weight", shape_.hidden, shape_.feed_forward, Deviation(shape_.hidden));
    AddMatrix(prefix + "ffn_up.weight", shape_.hidden, (glm ? 2 : 1) * shape_.feed_forward, Deviation(shape_.hidden));
    AddMatrix(prefix + "ffn_down.weight", shape_.feed_forward, shape_.hidden,
              Deviation(shape_.feed_forward) * (glm ? 1.0f : share));
    if (glm) AddNorm(prefix + "post_ffw_norm.weight", share);
  }

  const RandomModelOptions& options_;
  const Hyperparameters& shape_;
  std::vector<PlannedTensor> tensors_;
};

void AddHyperparameters(const Hyperparameters& shape, GgufWriter& writer) {
  const std::string architecture = shape.kind == ArchitectureKind::kGlm4 ? "glm4" : "llama";
  const auto put = [&](const std::string& key, int64_t value) {
    writer.AddUint32(architecture + "." + key, static_cast<uint32_t>(value));
  };
  writer.AddString("general.architecture", architecture);
  writer.AddString("general.name", shape.name + " of random weights");
  writer.AddUint32("general.quantization_version", 2);
  put("block_count", shape.layers);
  put("context_length", shape.context_length);
  put("embedding_length", shape.hidden);
  put("feed_forward_length", shape.feed_forward);
  put("attention.head_count", shape.heads);
  put("attention.head_count_kv", shape.kv_heads);
  put("attention.key_length", shape.head_size);
  put("attention.value_length", shape.head_size);
  put("rope.dimension_count", shape.rotary_size);
  put("vocab_size", shape.vocabulary);
  writer.AddFloat32(architecture + ".rope.freq_base", static_cast<float>(shape.rotary_base));
  writer.AddFloat32(architecture + ".attention.layer_norm_rms_epsilon", static_cast<float>(shape.rms_epsilon));
}

// The 256 bytes, as many pairs and then triples of bytes as fit, and the control tokens last: as many entries and
// merges to load as a trained vocabulary of this size has.
void AddVocabulary(const Hyperparameters& shape, GgufWriter& writer) {
  const bool glm = shape.kind == ArchitectureKind::kGlm4;
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
  writer.AddString("tokenizer.ggml.pre", glm ? "glm4" : "smollm");
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
  AddHyperparameters(options.shape, *writer);
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
