#include "inference/model/transformer.h"

#include <algorithm>
#include <cmath>

#include "inference/kernels/kernels.h"
#include "inference/model/attention.h"
#include "inference/model/rotary.h"
#include "inference/quantization/codec.h"

namespace fedglm {
namespace {

// A vector tensor (norm, bias) as float32; empty if the file has none of that name.
std::vector<float> DecodeVector(const GgufFile& file, const std::string& name) {
  const GgufTensor* const tensor = file.FindTensor(name);
  if (tensor == nullptr) return {};
  std::vector<float> values(static_cast<size_t>(tensor->columns()));
  DecodeRow(tensor->type, tensor->bytes.data(), values.data(), tensor->columns());
  return values;
}

LinearLayer BindLinear(const GgufFile& file, const std::string& prefix) {
  const GgufTensor* const tensor = file.FindTensor(prefix + ".weight");
  if (tensor == nullptr) return {};
  return {prefix + ".weight", tensor->AsMatrix(), DecodeVector(file, prefix + ".bias")};
}

// out = x / sqrt(mean(x^2) + epsilon) * weight. Sums in double. x and out may be the same.
void RmsNorm(const float* x, const std::vector<float>& weight, double epsilon, int64_t tokens, float* out) {
  const int64_t width = static_cast<int64_t>(weight.size());
  for (int64_t t = 0; t < tokens; ++t, x += width, out += width) {
    double sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += static_cast<double>(x[i]) * x[i];
    const float scale = static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(width) + epsilon));
    for (int64_t i = 0; i < width; ++i) out[i] = x[i] * scale * weight[static_cast<size_t>(i)];
  }
}

void AddTo(const std::vector<float>& from, std::vector<float>& to) {
  for (size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

float Silu(float x) { return x / (1.0f + std::exp(-x)); }

}  // namespace

struct Transformer::Activations {
  int64_t tokens;
  std::vector<float> residual, normed, branch;   // [tokens][hidden]
  std::vector<float> query, key, value, mixed;   // [tokens][query_width or kv_width]
  std::vector<float> gate, up;                   // [tokens][feed_forward] (glm4: up is twice as wide)

  Activations(const Hyperparameters& h, int64_t count) : tokens(count) {
    const auto make = [&](int64_t width) { return std::vector<float>(static_cast<size_t>(count * width)); };
    residual = make(h.hidden), normed = make(h.hidden), branch = make(h.hidden);
    query = make(h.query_width()), key = make(h.kv_width()), value = make(h.kv_width()), mixed = make(h.query_width());
    gate = make(h.feed_forward), up = make(h.kind == ArchitectureKind::kGlm4 ? 2 * h.feed_forward : h.feed_forward);
  }
};

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Make(std::shared_ptr<const GgufFile> file) {
  std::unique_ptr<Transformer> model(new Transformer);
  FEDGLM_ASSIGN_OR_RETURN(model->hyperparameters_, ReadHyperparameters(*file));
  FEDGLM_ASSIGN_OR_RETURN(const GgufTensor* const embedding, file->RequireTensor("token_embd.weight"));
  const GgufTensor* const output = file->FindTensor("output.weight");
  model->embedding_ = embedding->AsMatrix();
  model->output_ = (output != nullptr ? output : embedding)->AsMatrix();
  model->output_norm_ = DecodeVector(*file, "output_norm.weight");
  model->frequencies_ = RotaryFrequencies(model->hyperparameters_, *file);
  for (int64_t i = 0; i < model->hyperparameters_.layers; ++i) {
    const std::string prefix = "blk." + std::to_string(i) + ".";
    Layer layer;
    layer.attention_norm = DecodeVector(*file, prefix + "attn_norm.weight");
    layer.post_attention_norm = DecodeVector(*file, prefix + "post_attention_norm.weight");
    layer.ffn_norm = DecodeVector(*file, prefix + "ffn_norm.weight");
    layer.post_ffn_norm = DecodeVector(*file, prefix + "post_ffw_norm.weight");
    layer.query = BindLinear(*file, prefix + "attn_q");
    layer.key = BindLinear(*file, prefix + "attn_k");
    layer.value = BindLinear(*file, prefix + "attn_v");
    layer.output = BindLinear(*file, prefix + "attn_output");
    layer.gate = BindLinear(*file, prefix + "ffn_gate");
    layer.up = BindLinear(*file, prefix + "ffn_up");
    layer.down = BindLinear(*file, prefix + "ffn_down");
    model->layers_.push_back(std::move(layer));
  }
  model->file_ = std::move(file);
  return model;
}

void Transformer::Linear(const LinearLayer& layer, const float* x, int64_t tokens, float* y,
                         const BoundAdapter* adapter, ThreadPool& pool) const {
  MatMul(layer.weights, x, tokens, y, pool);
  if (!layer.bias.empty()) {
    for (int64_t t = 0; t < tokens; ++t) AddScaled(1.0f, layer.bias.data(), y + t * layer.weights.rows, layer.weights.rows);
  }
  if (adapter != nullptr) adapter->Apply(layer.name, x, tokens, y, pool);
}

void Transformer::Attention(const Layer& layer, int64_t index, int64_t start, KvCache& cache,
                            const BoundAdapter* adapter, Activations& a, ThreadPool& pool) const {
  const Hyperparameters& h = hyperparameters_;
  Linear(layer.query, a.normed.data(), a.tokens, a.query.data(), adapter, pool);
  Linear(layer.key, a.normed.data(), a.tokens, a.key.data(), adapter, pool);
  Linear(layer.value, a.normed.data(), a.tokens, a.value.data(), adapter, pool);
  std::vector<float> cosines(frequencies_.size()), sines(frequencies_.size());
  for (int64_t t = 0; t < a.tokens; ++t) {
    RotaryAngles(frequencies_, start + t, cosines.data(), sines.data());
    float* const query = a.query.data() + t * h.query_width();
    float* const key = a.key.data() + t * h.kv_width();
    for (int64_t head = 0; head < h.heads; ++head) {
      Rotate(h.rotary_layout, h.rotary_size, cosines.data(), sines.data(), query + head * h.head_size);
    }
    for (int64_t head = 0; head < h.kv_heads; ++head) {
      Rotate(h.rotary_layout, h.rotary_size, cosines.data(), sines.data(), key + head * h.head_size);
    }
    std::copy_n(key, h.kv_width(), cache.Key(index, start + t));
    std::copy_n(a.value.data() + t * h.kv_width(), h.kv_width(), cache.Value(index, start + t));
  }
  CausalAttention(h, index, a.query.data(), a.tokens, start, cache, a.mixed.data(), pool);
  Linear(layer.output, a.mixed.data(), a.tokens, a.branch.data(), adapter, pool);
}

void Transformer::FeedForward(const Layer& layer, const BoundAdapter* adapter, Activations& a, ThreadPool& pool) const {
  const int64_t width = hyperparameters_.feed_forward;
  Linear(layer.up, a.normed.data(), a.tokens, a.up.data(), adapter, pool);
  if (layer.gate.name.empty()) {
    for (int64_t t = 0; t < a.tokens; ++t) {
      const float* const gate_and_up = a.up.data() + 2 * t * width;
      float* const out = a.gate.data() + t * width;
      for (int64_t i = 0; i < width; ++i) out[i] = Silu(gate_and_up[i]) * gate_and_up[width + i];
    }
  } else {
    Linear(layer.gate, a.normed.data(), a.tokens, a.gate.data(), adapter, pool);
    for (size_t i = 0; i < a.gate.size(); ++i) a.gate[i] = Silu(a.gate[i]) * a.up[i];
  }
  Linear(layer.down, a.gate.data(), a.tokens, a.branch.data(), adapter, pool);
}

void Transformer::Forward(std::span<const Token> tokens, KvCache& cache, const BoundAdapter* adapter, float* hidden,
                          ThreadPool& pool) const {
  const Hyperparameters& h = hyperparameters_;
  const int64_t count = static_cast<int64_t>(tokens.size()), start = cache.length() - count;
  Activations a(h, count);
  for (int64_t t = 0; t < count; ++t) {
    DecodeRowFast(embedding_, tokens[static_cast<size_t>(t)], a.residual.data() + t * h.hidden);
  }
  for (int64_t i = 0; i < h.layers; ++i) {
    const Layer& layer = layers_[static_cast<size_t>(i)];
    RmsNorm(a.residual.data(), layer.attention_norm, h.rms_epsilon, count, a.normed.data());
    Attention(layer, i, start, cache, adapter, a, pool);
    if (!layer.post_attention_norm.empty()) {
      RmsNorm(a.branch.data(), layer.post_attention_norm, h.rms_epsilon, count, a.branch.data());
    }
    AddTo(a.branch, a.residual);
    RmsNorm(a.residual.data(), layer.ffn_norm, h.rms_epsilon, count, a.normed.data());
    FeedForward(layer, adapter, a, pool);
    if (!layer.post_ffn_norm.empty()) {
      RmsNorm(a.branch.data(), layer.post_ffn_norm, h.rms_epsilon, count, a.branch.data());
    }
    AddTo(a.branch, a.residual);
  }
  RmsNorm(a.residual.data(), output_norm_, h.rms_epsilon, count, hidden);
}

void Transformer::Logits(const float* hidden, int64_t tokens, float* logits, ThreadPool& pool) const {
  MatMul(output_, hidden, tokens, logits, pool);
}

}  // namespace fedglm
