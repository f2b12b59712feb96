// Log-probabilities in the two shapes that OpenAI has for them.
#pragma once

#include <vector>

#include "base/json_forward.h"
#include "inference/engine/engine.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

// One token and its likeliest rivals.
struct ScoredToken {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;
};

// {"content": [{"token", "logprob", "bytes", "top_logprobs"}], "refusal": null}. A token that is no whole character has
// its text with U+FFFD and its true bytes.
Json ChatLogprobs(const Tokenizer& tokenizer, const std::vector<ScoredToken>& tokens);

// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}; offsets in bytes, the first one `offset`.
Json TextLogprobs(const Tokenizer& tokenizer, const std::vector<ScoredToken>& tokens, size_t offset);

std::vector<ScoredToken> ScoredTokens(const GenerationResult& result);

}  // namespace fedglm
