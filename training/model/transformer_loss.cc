#include "training/model/transformer_loss.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace fedglm {
namespace {

// softmax(q k^T / sqrt(d)) v under the causal mask. q, k, v: [...][heads][tokens][head_size]; mask: [tokens][tokens].
at::Tensor CausalAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(-1)));
  return at::matmul(at::softmax(at::matmul(q, k.transpose(-2, -1)) * scale + mask, -1), v);
}

// 0 where a token may look, -infinity where it may not: everything after itself.
at::Tensor CausalMask(int64_t tokens) {
  return at::full({tokens, tokens}, -std::numeric_limits<float>::infinity(), at::TensorOptions().dtype(at::kFloat))
      .triu_(1);
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
  if (!weight.defined()) return x;  // some have no norm after a branch, or of a head
  return x * (x.square().mean(-1, true) + hyperparameters_.rms_epsilon).rsqrt() * weight;
}

// Segments of about one length are computed as one batch, each padded at its end to the longest: the causal mask keeps
// every token from what is behind it, and what comes out at the padding is dropped, so it gets no gradient either.
TransformerLoss::SegmentLayout TransformerLoss::LayoutOf(const Batch& batch) {
  SegmentLayout layout;
  const auto tokens = static_cast<int64_t>(batch.tokens.size());
  layout.segments = static_cast<int64_t>(batch.segments.size()) - 1;
  for (int64_t s = 0; s < layout.segments; ++s)
    layout.longest = std::max(layout.longest, batch.segments[s + 1] - batch.segments[s]);
  layout.mask = CausalMask(layout.longest);
  layout.padded = layout.segments > 1 && layout.segments * layout.longest <= 2 * tokens;
  if (!layout.padded) return layout;
  std::vector<int64_t> spread, gather;
  for (int64_t s = 0; s < layout.segments; ++s) {
    const int64_t begin = batch.segments[s], count = batch.segments[s + 1] - begin;
    for (int64_t i = 0; i < layout.longest; ++i) spread.push_back(begin + std::min(i, count - 1));
    for (int64_t i = 0; i < count; ++i) gather.push_back(s * layout.longest + i);
  }
  layout.spread = at::tensor(spread, at::kLong);
  layout.gather = at::tensor(gather, at::kLong);
  return layout;
}

// q, k, v: [tokens][heads][head_size], as many heads each. The result: [tokens][heads * head_size].
at::Tensor TransformerLoss::Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Batch& batch,
                                   const SegmentLayout& layout) const {
  const int64_t tokens = q.size(0), width = q.size(1) * q.size(2);
  if (layout.padded) {
    const auto spread = [&](const at::Tensor& x) {
      return x.index_select(0, layout.spread)
          .view({layout.segments, layout.longest, x.size(1), x.size(2)})
          .transpose(1, 2);
    };
    const at::Tensor mixed = CausalAttention(spread(q), spread(k), spread(v), layout.mask);
    return mixed.transpose(1, 2).reshape({layout.segments * layout.longest, width}).index_select(0, layout.gather);
  }
  std::vector<at::Tensor> outputs;
  for (size_t s = 0; s + 1 < batch.segments.size(); ++s) {
    const int64_t begin = batch.segments[s], count = batch.segments[s + 1] - begin;
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, begin, count).transpose(0, 1); };
    const at::Tensor mask = layout.mask.narrow(0, 0, count).narrow(1, 0, count);
    outputs.push_back(CausalAttention(part(q), part(k), part(v), mask).transpose(0, 1));
  }
  return at::cat(outputs, 0).reshape({tokens, width});
}

at::Tensor TransformerLoss::Attention(const std::string& prefix, const at::Tensor& x, const Batch& batch,
                                      const SegmentLayout& layout, const Rotation& rotation) const {
  const Hyperparameters& h = hyperparameters_;
  const auto heads = [&](const char* name, int64_t count) {
    return weights_.Linear(prefix + name, x).view({x.size(0), count, h.head_size});
  };
  // Each K/V head serves a group of query heads.
  const int64_t group = h.heads / h.kv_heads;
  const at::Tensor normed_q = Norm(heads("attn_q", h.heads), prefix + "attn_q_norm.weight");
  const at::Tensor normed_k = Norm(heads("attn_k", h.kv_heads), prefix + "attn_k_norm.weight");
  const at::Tensor q = Rotate(normed_q, rotation), k = Rotate(normed_k, rotation).repeat_interleave(group, 1);
  const at::Tensor v = heads("attn_v", h.kv_heads).repeat_interleave(group, 1);
  return weights_.Linear(prefix + "attn_output", Attend(q, k, v, batch, layout));
}

at::Tensor TransformerLoss::FeedForward(const std::string& prefix, const at::Tensor& x) const {
  at::Tensor gate, up;
  if (hyperparameters_.architecture->gate_in_up) {
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
  const SegmentLayout layout = LayoutOf(batch);
  at::Tensor x = weights_.Embed(batch.tokens);
  for (int64_t i = 0; i < hyperparameters_.layers; ++i) {
    const std::string prefix = "blk." + std::to_string(i) + ".";
    const at::Tensor attention = Attention(prefix, Norm(x, prefix + "attn_norm.weight"), batch, layout, rotation);
    x = x + Norm(attention, prefix + "post_attention_norm.weight");
    const at::Tensor feed_forward = FeedForward(prefix, Norm(x, prefix + "ffn_norm.weight"));
    x = x + Norm(feed_forward, prefix + "post_ffw_norm.weight");
  }
  const at::Tensor rows = at::tensor(batch.target_rows, at::kLong);
  return weights_.Loss(Norm(x.index_select(0, rows), "output_norm.weight"), batch.targets);
}

double TransformerLoss::Loss(const Batch& batch) {
  const torch::NoGradGuard no_gradients;
  return (*this)(batch).item<double>();
}

double TransformerLoss::AddGradients(const Batch& batch, double weight) {
  const at::Tensor loss = (*this)(batch);
  (loss * weight).backward();
  return loss.item<double>();
}

}  // namespace fedglm
