// What is asked of the engine, and what it answers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inference/gguf/token.h"
#include "inference/memory/memory_monitor.h"
#include "inference/memory/weight_streamer.h"
#include "inference/sampling/sampler.h"
#include "inference/sampling/token_constraint.h"

namespace fedglm {

struct GenerationRequest {
  std::vector<Token> prompt;
  int64_t max_tokens = 256;
  SamplingOptions sampling;
  std::vector<std::string> stop;                // text that ends the answer and is not part of it
  bool ignore_end = false;                      // go on past end-of-turn tokens (bench)
  std::string adapter;                          // a name of AddAdapter; empty: what SetAdapter set; kBaseAdapter: none
  std::shared_ptr<TokenConstraint> constraint;  // nullptr: any token may come. Of this request alone.
  int64_t logprobs = -1;       // -1: none; 0..20: the token's own log-probability and those of so many likeliest
  double timeout_seconds = 0;  // 0: none; then the answer ends with kCancelled, also while it waits
  // Asked some times a second while no token comes, also while the request waits or its prompt is read; false cancels.
  // Called from the thread that waits for the answer.
  std::function<bool()> still_wanted;
};

// The adapter name of the base alone.
inline constexpr std::string_view kBaseAdapter = "base";

enum class FinishReason { kStop, kLength, kCancelled };

// Natural logarithms, of the model's own distribution (before temperature, penalties and constraint).
struct TokenLogprob {
  Token token = 0;
  float logprob = 0;
};

struct GeneratedToken {
  Token token = 0;
  std::string_view text;          // what became complete UTF-8 with this token; may be empty
  float logprob = 0;              // of `token`; 0 unless asked for
  std::vector<TokenLogprob> top;  // likeliest first; empty unless asked for
};

struct GenerationResult {
  std::vector<Token> tokens;
  std::vector<float> logprobs;                 // one a token; empty unless asked for
  std::vector<std::vector<TokenLogprob>> top;  // one list a token; empty unless asked for
  std::string text;
  FinishReason reason = FinishReason::kStop;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, whose keys and values were there already
  double queue_seconds = 0, prefill_seconds = 0, decode_seconds = 0;
};

// Called, from the thread that waits for the answer, after each token. Return false to cancel. An answer that ends with
// an end-of-turn token while text was held back (the beginning of a stop text) gets one more call, with that token and
// the text.
using TokenCallback = std::function<bool(const GeneratedToken& token)>;

// Counted since the engine was opened; gauges where it says so.
struct EngineStatistics {
  int64_t running = 0, waiting = 0;  // gauges, of requests
  int64_t prompt_tokens = 0, generated_tokens = 0;
  int64_t steps = 0;                                   // forward passes
  int64_t cache_hit_tokens = 0;                        // prompt tokens that were not computed again
  int64_t cache_pages = 0, cache_pages_free = 0;       // gauges; free: that no running request uses
  int64_t cache_evictions = 0, recomputed_tokens = 0;  // pages taken back; tokens computed again because of that
  int64_t preemptions = 0;                             // running requests that had to wait again for pages
  int64_t refused_queue_full = 0, refused_memory = 0, cancelled = 0;
  std::vector<std::pair<std::string, uint64_t>> memory;  // gauge: bytes by account of the budget
  uint64_t memory_budget = 0;                            // gauge
  // Nothing if weights are not planned (EngineOptions::plan_weights).
  std::optional<StreamerStatistics> weights;
  std::optional<MonitorStatistics> pressure;
};

}  // namespace fedglm
