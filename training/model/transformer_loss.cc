#include "training/model/transformer_loss.h"

#include <torch/torch.h>

#include <cmath>
#include <limits>

namespace fedglm {
namespace {

// softmax(q k^T / sqrt(d)) v under the causal mask. q, k, v: [heads][tokens][head_size].
at::Tensor CausalAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const int64_t tokens = q.size(1);
  const at::Tensor mask = at::full({tokens, tokens}, -std::numeric_limits<float>::infinity(), q.options()).triu_(1);
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2)));
  return at::matmul(at::softmax(at::matmul(q, k.transpose(1, 2)) * scale + mask, -1), v);
}

}  // namespace

TransformerLoss::TransformerLoss(const Hyperparameters& hyperparameters, std::vector<double> frequencies,
                                 const Weights& weights)
    : hyperparameters_(hyperparameters), frequencies_(std::move(frequencies)), weights_(weights) {}

TransformerLoss::Rotation TransformerLoss::RotationOf(const Batch& batch) const {
  const auto tokens = static_cast<int64_t>(batch.tokens.size());
  const auto half = static_cast<int64_t>(frequencies_.size());
  const at::Tensor positions = at::tensor(batch.positions, at::kDouble).view({tokens, 1});
  const at::Tensor angles = positions * at::tensor(frequencies_, at::kDouble).view({1, half});
  return {angles.cos().to(at::kFloat).view({tokens, 1, half}), angles.sin().to(at::kFloat).view({tokens, 1, half})};
}

// heads: [tokens][heads][head_size]
at::Tensor TransformerLoss::Rotate(const at::Tensor& heads, const Rotation& rotation) const {
  const int64_t rotary = hyperparameters_.rotary_size, half = rotary / 2;
  const at::Tensor turned = heads.narrow(2, 0, rotary);
  const bool interleaved = hyperparameters_.rotary_layout == RotaryLayout::kInterleaved;
  const std::vector<int64_t> pairs = {heads.size(0), heads.size(1), half, 2};
  const at::Tensor a = interleaved ? turned.reshape(pairs).select(3, 0) : turned.narrow(2, 0, half);
  const at::Tensor b = interleaved ? turned.reshape(pairs).select(3, 1) : turned.narrow(2, half, half);
  const at::Tensor first = a * rotation.cosines - b * rotation.sines;
  const at::Tensor second = a * rotation.sines + b * rotation.cosines;
  at::Tensor result = interleaved ? at::stack({first, second}, 3).reshape({heads.size(0), heads.size(1), rotary})
                                  : at::cat({first, second}, 2);
  if (rotary == hyperparameters_.head_size) return result;
  return at::cat({result, heads.narrow(2, rotary, hyperparameters_.head_size - rotary)}, 2);
}

at::Tensor TransformerLoss::Norm(const at::Tensor& x, const std::string& name) const {
  const at::Tensor weight = weights_.Vector(name);
  if (!weight.defined()) return x;  // llama has no norm after a branch
  return x * (x.square().mean(-1, true) + hyperparameters_.rms_epsilon).rsqrt() * weight;
}

at::Tensor TransformerLoss::Attention(const std::string& prefix, const at::Tensor& x, const Batch& batch,
                                      const Rotation& rotation) const {
  const Hyperparameters& h = hyperparameters_;
  const int64_t tokens = x.size(0);
  const auto heads = [&](const char* name, int64_t count) {
    return weights_.Linear(prefix + name, x).view({tokens, count, h.head_size});
  };
  const at::Tensor q = Rotate(heads("attn_q", h.heads), rotation).transpose(0, 1);
  const at::Tensor k = Rotate(heads("attn_k", h.kv_heads), rotation).transpose(0, 1);
  const at::Tensor v = heads("attn_v", h.kv_heads).transpose(0, 1);
  // Each K/V head serves a group of query heads.
  const int64_t group = h.heads / h.kv_heads;
  const at::Tensor keys = k.repeat_interleave(group, 0), values = v.repeat_interleave(group, 0);
  std::vector<at::Tensor> outputs;
  for (size_t s = 0; s + 1 < batch.segments.size(); ++s) {
    const int64_t begin = batch.segments[s], count = batch.segments[s + 1] - begin;
    outputs.push_back(CausalAttention(q.narrow(1, begin, count), keys.narrow(1, begin, count), values.narrow(1, begin, count)));
  }
  const at::Tensor mixed = at::cat(outputs, 1).transpose(0, 1).reshape({tokens, h.query_width()});
  return weights_.Linear(prefix + "attn_output", mixed);
}

at::Tensor TransformerLoss::FeedForward(const std::string& prefix, const at::Tensor& x) const {
  at::Tensor gate, up;
  if (hyperparameters_.kind == ArchitectureKind::kGlm4) {
    const at::Tensor both = weights_.Linear(prefix + "ffn_up", x);
    gate = both.narrow(1, 0, hyperparameters_.feed_forward);
    up = both.narrow(1, hyperparameters_.feed_forward, hyperparameters_.feed_forward);
  } else {
    gate = weights_.Linear(prefix + "ffn_gate", x);
    up = weights_.Linear(prefix + "ffn_up", x);
  }
  return weights_.Linear(prefix + "ffn_down", at::silu(gate) * up);
}

at::Tensor TransformerLoss::operator()(const Batch& batch) const {
  const Rotation rotation = RotationOf(batch);
  at::Tensor x = weights_.Embed(batch.tokens);
  for (int64_t i = 0; i < hyperparameters_.layers; ++i) {
    const std::string prefix = "blk." + std::to_string(i) + ".";
    const at::Tensor attention = Attention(prefix, Norm(x, prefix + "attn_norm.weight"), batch, rotation);
    x = x + Norm(attention, prefix + "post_attention_norm.weight");
    const at::Tensor feed_forward = FeedForward(prefix, Norm(x, prefix + "ffn_norm.weight"));
    x = x + Norm(feed_forward, prefix + "post_ffw_norm.weight");
  }
  const at::Tensor rows = at::tensor(batch.target_rows, at::kLong);
  return weights_.Loss(Norm(x.index_select(0, rows), "output_norm.weight"), batch.targets);
}

}  // namespace fedglm
