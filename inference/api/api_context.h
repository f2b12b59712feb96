// What the routes share, and what they do alike before a prompt goes to the engine.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_forward.h"
#include "base/status.h"
#include "inference/api/api_metrics.h"
#include "inference/api/api_options.h"
#include "inference/api/exchange.h"
#include "inference/api/rate_limiter.h"
#include "inference/api/upstream_pool.h"
#include "inference/engine/engine.h"
#include "inference/grammar/grammar.h"

namespace fedglm {

// Thread-safe.
struct ApiContext {
  Engine& engine;
  ApiOptions options;  // model_name is filled in
  ApiMetrics& metrics;
  RateLimiter& limiter;
  UpstreamPool& upstreams;
  std::shared_ptr<const TokenTrie> token_trie;  // of the engine's tokenizer
};

// The request's JSON object.
absl::StatusOr<Json> ReadBody(const Exchange& exchange);

// The engine's adapter name for `model`: empty for the server's own model. NotFound for a model that is not served
// here.
absl::StatusOr<std::string> AdapterOfModel(const ApiContext& context, const std::string& model);

// True if the request is not for this server: its model is an upstream's. Then it has been answered, or refused.
bool AnsweredByUpstreamModel(ApiContext& context, const std::shared_ptr<Exchange>& exchange, const std::string& path,
                             const Json& body);

// Sends `status`, or, if this server only lacks room, what an upstream answers instead.
void RefuseOrHandOver(ApiContext& context, const std::shared_ptr<Exchange>& exchange, const absl::Status& status,
                      const std::string& path, const Json& body);

// Takes the prompt's tokens from the key's budget. False: it has sent the refusal.
bool TakePromptTokens(ApiContext& context, Exchange& exchange, int64_t tokens);

// A key that has gone too far: 429 with Retry-After; the limits' headers in any case.
void SendRateDecision(const RateDecision& decision, Exchange& exchange);

// ParameterError (code context_length_exceeded) if there is no room for at least one token of the answer.
absl::Status CheckPromptFits(const ApiContext& context, int64_t prompt_tokens, const char* field);

// The same error for a text (or a list of texts) that is far too long, by its beginning: to tokenize a megabyte takes
// longer than a refusal may. What passes may still be too long.
absl::Status CheckTextFits(const ApiContext& context, std::string_view text, const char* field);
absl::Status CheckTextsFit(const ApiContext& context, const Json& body, const char* field);

}  // namespace fedglm
