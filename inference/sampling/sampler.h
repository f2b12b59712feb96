// Choosing the next token from its logits.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

struct SamplingOptions {
  double temperature = 0.0;          // 0: greedy
  int64_t top_k = 0;                 // 0: all
  double top_p = 1.0;
  double min_p = 0.0;                // relative to the most likely token
  double repetition_penalty = 1.0;   // of tokens among the last `repetition_window`
  int64_t repetition_window = 64;
  uint64_t seed = 0;                 // 0: a random one
};

// Not thread-safe; one per answer. The same seed and logits give the same tokens on every machine.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);
  Token Sample(std::span<const float> logits);
  void Accept(Token token);  // also the prompt's, for the repetition penalty

 private:
  SamplingOptions options_;
  std::mt19937_64 random_;
  std::vector<Token> recent_;
  std::vector<std::pair<float, Token>> candidates_;
};

}  // namespace fedglm
