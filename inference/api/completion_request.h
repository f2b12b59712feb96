// Reading the body of POST /v1/completions. https://platform.openai.com/docs/api-reference/completions
#pragma once

#include <vector>

#include "base/json_forward.h"
#include "base/status.h"
#include "inference/api/answer_options.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

constexpr size_t kMaxPrompts = 16;
constexpr int64_t kCompletionTokens = 16;  // OpenAI's default of max_tokens here

struct CompletionRequest {
  AnswerOptions options;
  std::vector<std::vector<Token>> prompts;  // each is answered options.choices times
  bool echo = false;                        // the answer's text begins with the prompt's
};

absl::StatusOr<CompletionRequest> ParseCompletionRequest(const Json& body, const Tokenizer& tokenizer);

// `field`, a text, tokens, or a list of either, as tokens: what "prompt" and the embeddings' "input" are. BOS is put
// before a text, not before tokens. ParameterError for more than `max_count`, an empty one, or an id that is no token.
absl::StatusOr<std::vector<std::vector<Token>>> ReadTokenLists(const Json& body, const char* field,
                                                               const Tokenizer& tokenizer, size_t max_count);

}  // namespace fedglm
