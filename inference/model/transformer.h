// The forward pass of `glm4` and `llama` over a mapped GGUF: weights are multiplied as they lie in the file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "inference/cache/kv_cache.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"
#include "inference/model/bound_adapter.h"
#include "inference/quantization/weight_matrix.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

// A linear layer as the forward pass sees it.
struct LinearLayer {
  std::string name;         // GGUF's, where an adapter's factors are found
  WeightMatrix weights;
  std::vector<float> bias;  // empty: none
};

// Immutable; thread-safe. The sequence's state is in the KvCache.
class Transformer {
 public:
  static absl::StatusOr<std::unique_ptr<Transformer>> Make(std::shared_ptr<const GgufFile> file);

  const Hyperparameters& hyperparameters() const { return hyperparameters_; }
  const GgufFile& file() const { return *file_; }

  // Runs `tokens` as the next positions of the sequence in `cache`, which must have been extended for them.
  // hidden: [tokens][hidden], after the last norm. `adapter` may be nullptr.
  void Forward(std::span<const Token> tokens, KvCache& cache, const BoundAdapter* adapter, float* hidden,
               ThreadPool& pool) const;

  // logits[t] = output matrix times hidden[t]. hidden: [tokens][hidden], logits: [tokens][vocabulary].
  void Logits(const float* hidden, int64_t tokens, float* logits, ThreadPool& pool) const;

 private:
  struct Layer {
    std::vector<float> attention_norm, post_attention_norm, ffn_norm, post_ffn_norm;  // post_*: empty in llama
    LinearLayer query, key, value, output;
    LinearLayer gate;  // empty name in glm4: up holds both, the gate first
    LinearLayer up, down;
  };
  struct Activations;

  Transformer() = default;
  void Linear(const LinearLayer& layer, const float* x, int64_t tokens, float* y, const BoundAdapter* adapter,
              ThreadPool& pool) const;
  void Attention(const Layer& layer, int64_t index, int64_t start, KvCache& cache, const BoundAdapter* adapter,
                 Activations& a, ThreadPool& pool) const;
  void FeedForward(const Layer& layer, const BoundAdapter* adapter, Activations& a, ThreadPool& pool) const;

  std::shared_ptr<const GgufFile> file_;
  Hyperparameters hyperparameters_;
  WeightMatrix embedding_, output_;
  std::vector<float> output_norm_;
  std::vector<Layer> layers_;
  std::vector<double> frequencies_;
};

}  // namespace fedglm
