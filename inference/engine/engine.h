// The inference engine: one mapped base, an adapter that can be swapped between two tokens, generation by callback.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"
#include "inference/sampling/sampler.h"
#include "inference/tokenizer/chat_template.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

struct EngineOptions {
  int threads = 0;                 // 0: physical cores the process may use
  int64_t context = 0;             // 0: the model's own, at most 8192
  uint64_t memory_budget = 0;      // bytes; 0: from the cgroup or the machine
  bool require_tokenizer = true;   // false: a model without a vocabulary can be opened; it computes logits, not text
  std::function<bool()> stop_requested;  // asked between batches of Logits and SequenceLoss: true makes them Cancelled
};

struct GenerationRequest {
  std::vector<Token> prompt;
  int64_t max_tokens = 256;
  SamplingOptions sampling;
  std::vector<std::string> stop;   // text that ends the answer and is not part of it
  bool ignore_end = false;         // go on past end-of-turn tokens (bench)
};

enum class FinishReason { kStop, kLength, kCancelled };

struct GenerationResult {
  std::vector<Token> tokens;
  std::string text;
  FinishReason reason = FinishReason::kStop;
  int64_t prompt_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0;
};

// Called with each piece of text as soon as it is complete UTF-8. Return false to cancel.
using TokenCallback = std::function<bool(std::string_view piece, Token token)>;

// Thread-safe: requests take turns in the order they came (continuous batching is issue 4's).
class Engine {
 public:
  static absl::StatusOr<std::unique_ptr<Engine>> Open(const std::filesystem::path& model, const EngineOptions& options);
  ~Engine();

  const GgufFile& file() const;
  const Hyperparameters& hyperparameters() const;
  const Tokenizer& tokenizer() const;
  const ChatTemplate& chat_template() const;
  int64_t context() const;

  // From the next token on, also of answers that are being written: their KV cache entries of the old adapter are kept.
  // nullptr: the base alone. BadFile if it does not fit the base.
  absl::Status SetAdapter(std::shared_ptr<const Adapter> adapter);

  // UsageError if the prompt is empty, has ids out of range, or does not fit the context.
  absl::StatusOr<GenerationResult> Generate(const GenerationRequest& request, const TokenCallback& on_token);

  // Logits of every position: [tokens][vocabulary] float32. `sink` gets the rows in order, in batches.
  absl::Status Logits(const std::vector<Token>& tokens,
                      const std::function<absl::Status(const float* rows, int64_t count)>& sink);

  struct Loss {
    double sum = 0;      // natural logarithm
    int64_t tokens = 0;
    double mean() const { return tokens ? sum / static_cast<double>(tokens) : 0; }
  };
  // Cross entropy of tokens[i+1] given tokens[0..i], over the positions where counted[i+1]. One sequence from position 0.
  absl::StatusOr<Loss> SequenceLoss(const std::vector<Token>& tokens, const std::vector<bool>& counted);

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
