// Choosing the next token from its logits.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/status.h"
#include "inference/gguf/token.h"

namespace fedglm {

struct SamplingOptions {
  double temperature = 0.0;  // 0: greedy
  int64_t top_k = 0;         // 0: all
  double top_p = 1.0;
  double min_p = 0.0;               // relative to the most likely token
  double repetition_penalty = 1.0;  // of tokens among the last `repetition_window`
  int64_t repetition_window = 64;
  // OpenAI's: taken from the logit of a token that this answer has, once for each time, and once if it is there at all.
  double frequency_penalty = 0.0;
  double presence_penalty = 0.0;
  std::vector<std::pair<Token, float>> logit_bias;  // added to the logits
  uint64_t seed = 0;                                // 0: a random one
};

// UsageError, naming the field, for what means nothing: numbers that are not finite or out of range, a bias of a token
// that a vocabulary of that size does not have.
absl::Status CheckSampling(const SamplingOptions& options, int64_t vocabulary);

// Not thread-safe; one per answer. The same seed and logits give the same tokens on every machine.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);
  Token Sample(std::span<const float> logits);
  void Accept(Token token);  // also the prompt's, before the first Sample, for the repetition penalty

 private:
  std::pair<float, Token>* Find(Token token);  // in candidates_ while they are in the order of their ids; or nullptr
  void ShiftLogits();                          // of candidates_: the bias and the penalties
  void SortUpTo(size_t count);                 // the `count` likeliest of candidates_ come first, in order

  SamplingOptions options_;
  std::mt19937_64 random_;
  std::vector<Token> recent_;
  std::unordered_map<Token, int64_t> answered_;  // how often the answer has each token; only for the two penalties
  bool answering_ = false;  // the first token has been sampled: what is accepted now is the answer's
  std::vector<std::pair<float, Token>> candidates_;
  size_t sorted_ = 0;  // of candidates_
};

}  // namespace fedglm
