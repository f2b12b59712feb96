#include "training/layer/adapted_transformer.h"

#include <algorithm>
#include <utility>

#include "inference/kernels/kernels.h"
#include "inference/kernels/row_kernels.h"

namespace fedglm {

AdaptedTransformer::AdaptedTransformer(const Hyperparameters& hyperparameters, TransformerOptions options,
                                       ThreadPool& pool)
    : h_(hyperparameters),
      options_(std::move(options)),
      pool_(pool),
      layer_(hyperparameters, options_.arithmetic, pool),
      output_loss_(options_.arithmetic, pool) {}

void AdaptedTransformer::Embed(const AdaptedWeights& weights, const Batch& batch, float* x) {
  pool_.ParallelFor(static_cast<int64_t>(batch.tokens.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      DecodeRowFast(weights.embedding, batch.tokens[static_cast<size_t>(t)], x + t * h_.hidden);
    }
  });
}

PackedSequences AdaptedTransformer::Pack(const Batch& batch) {
  rotation_.Assign(h_.rotary_layout, options_.frequencies, batch.positions);
  return {batch.segments, &rotation_};
}

int64_t AdaptedTransformer::KeptLayers(const AdaptedWeights& weights, int64_t tokens) {
  if (tokens > most_tokens_) {
    most_tokens_ = tokens;
    inputs_.clear();
    activations_.clear();  // of another size: less of them may fit
  }
  const int64_t floats = most_tokens_ * LayerActivations::FloatsPerToken(h_, weights.layers.front());
  const int64_t left =
      static_cast<int64_t>(options_.activation_bytes / sizeof(float)) - (h_.layers + 1) * most_tokens_ * h_.hidden;
  return std::clamp<int64_t>(left / floats, 1, h_.layers);
}

double AdaptedTransformer::LossOfHidden(const AdaptedWeights& weights, const Batch& batch, const float* x,
                                        double weight, float* dx) {
  const RowKernels& kernels = ChosenRowKernels();
  const int64_t width = h_.hidden, count = static_cast<int64_t>(batch.targets.size());
  float* const normed = normed_.Room(count * width);
  const auto offset = [&](int64_t i) { return batch.target_rows[static_cast<size_t>(i)] * width; };
  pool_.ParallelFor(count, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      kernels.rms_norm(x + offset(i), weights.output_norm, h_.rms_epsilon, width, normed + i * width);
    }
  });
  const double loss = output_loss_(weights.output, normed, batch.targets, weight, dx == nullptr ? nullptr : normed);
  if (dx == nullptr) return loss;
  std::fill_n(dx, static_cast<int64_t>(batch.tokens.size()) * width, 0.0f);
  pool_.ParallelFor(count, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      kernels.rms_norm_gradient(x + offset(i), weights.output_norm, normed + i * width, h_.rms_epsilon, width,
                                dx + offset(i));
    }
  });
  return loss;
}

double AdaptedTransformer::Loss(const AdaptedWeights& weights, const Batch& batch) {
  const auto tokens = static_cast<int64_t>(batch.tokens.size());
  if (batch.targets.empty()) return 0;
  const PackedSequences sequences = Pack(batch);
  float* const x = gradient_.Room(tokens * h_.hidden);
  Embed(weights, batch, x);
  if (activations_.empty()) activations_.resize(1);
  for (const AdaptedLayer& layer : weights.layers) layer_.Forward(layer, sequences, x, x, activations_.front());
  return LossOfHidden(weights, batch, x, 0, nullptr);
}

double AdaptedTransformer::AddGradients(const AdaptedWeights& weights, const Batch& batch, double weight) {
  const auto tokens = static_cast<int64_t>(batch.tokens.size()), layers = static_cast<int64_t>(weights.layers.size());
  if (batch.targets.empty()) return 0;
  const PackedSequences sequences = Pack(batch);
  const int64_t kept = KeptLayers(weights, tokens);
  inputs_.resize(static_cast<size_t>(layers) + 1);
  activations_.resize(static_cast<size_t>(kept));
  const auto input = [&](int64_t layer) { return inputs_[static_cast<size_t>(layer)].Room(tokens * h_.hidden); };
  // Those that are not kept use the first kept layer's, which comes after them on the way forward, and before them on
  // the way back.
  const auto activations = [&](int64_t layer) -> LayerActivations& {
    return activations_[static_cast<size_t>(std::min(layers - 1 - layer, kept - 1))];
  };
  Embed(weights, batch, input(0));
  for (int64_t i = 0; i < layers; ++i) {
    layer_.Forward(weights.layers[static_cast<size_t>(i)], sequences, input(i), input(i + 1), activations(i));
  }
  float* const gradient = gradient_.Room(tokens * h_.hidden);
  const double loss = LossOfHidden(weights, batch, input(layers), weight, gradient);
  for (int64_t i = layers - 1; i >= 0; --i) {
    const AdaptedLayer& layer = weights.layers[static_cast<size_t>(i)];
    if (i < layers - kept) layer_.Forward(layer, sequences, input(i), nullptr, activations(i));
    layer_.Backward(layer, sequences, input(i), activations(i), gradient, i > 0);
  }
  return loss;
}

}  // namespace fedglm
