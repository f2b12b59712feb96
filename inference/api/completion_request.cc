#include "inference/api/completion_request.h"

#include <algorithm>

#include "base/json.h"
#include "inference/api/api_error.h"
#include "inference/api/request_fields.h"

namespace fedglm {
namespace {

bool IsTokenList(const Json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_number_integer(); });
}

absl::StatusOr<std::vector<Token>> ReadTokens(const Json& value, const std::string& place, const Tokenizer& tokenizer) {
  std::vector<Token> tokens;
  if (value.is_string()) {
    tokens = tokenizer.Encode(value.get_ref<const std::string&>(), {});
    if (tokens.empty()) return MustBe(place, "a text that is not empty");
    return tokens;
  }
  if (!IsTokenList(value)) return MustBe(place, "a text or a list of token ids");
  for (const Json& item : value) {
    const auto id = item.is_number_unsigned() ? item.get<uint64_t>() : uint64_t{UINT64_MAX};
    if (id >= static_cast<uint64_t>(tokenizer.size())) {
      return MustBe(place, "token ids below " + std::to_string(tokenizer.size()));
    }
    tokens.push_back(static_cast<Token>(id));
  }
  return tokens;
}

}  // namespace

absl::StatusOr<std::vector<std::vector<Token>>> ReadTokenLists(const Json& body, const char* field,
                                                               const Tokenizer& tokenizer, size_t max_count) {
  const Json* const value = FindField(body, field);
  if (value == nullptr) return ParameterError(field, "'" + std::string(field) + "' is missing");
  std::vector<std::vector<Token>> lists;
  if (value->is_string() || IsTokenList(*value)) {
    FEDGLM_ASSIGN_OR_RETURN(std::vector<Token> tokens, ReadTokens(*value, field, tokenizer));
    lists.push_back(std::move(tokens));
    return lists;
  }
  if (!value->is_array() || value->empty() || value->size() > max_count) {
    return MustBe(field, "a text, token ids, or a list of 1 to " + std::to_string(max_count) + " of them");
  }
  for (const Json& item : *value) {
    const std::string place = std::string(field) + "[" + std::to_string(lists.size()) + "]";
    FEDGLM_ASSIGN_OR_RETURN(std::vector<Token> tokens, ReadTokens(item, place, tokenizer));
    lists.push_back(std::move(tokens));
  }
  return lists;
}

absl::StatusOr<CompletionRequest> ParseCompletionRequest(const Json& body, const Tokenizer& tokenizer) {
  if (!body.is_object()) return UsageError("the request body must be a JSON object");
  CompletionRequest request;
  FEDGLM_ASSIGN_OR_RETURN(request.options, ReadAnswerOptions(body));
  AnswerOptions& options = request.options;
  if (options.max_tokens == 0) options.max_tokens = kCompletionTokens;
  FEDGLM_ASSIGN_OR_RETURN(options.logprobs, ReadCount(body, "logprobs", -1, 0, kMaxTopLogprobs));
  FEDGLM_ASSIGN_OR_RETURN(request.echo, ReadFlag(body, "echo"));
  if (request.echo && options.logprobs >= 0) {
    return ParameterError("echo", "'echo' with 'logprobs' is not supported: the prompt has no log-probabilities here");
  }
  FEDGLM_ASSIGN_OR_RETURN(const int64_t best_of, ReadCount(body, "best_of", options.choices, 1, kMaxChoices));
  if (best_of != options.choices) return MustBe("best_of", "the same as 'n': nothing is thrown away here");
  FEDGLM_ASSIGN_OR_RETURN(const std::string suffix, ReadText(body, "suffix", kMaxBodyBytes));
  if (!suffix.empty()) return ParameterError("suffix", "'suffix' is not supported: this model does not fill in text");
  FEDGLM_ASSIGN_OR_RETURN(request.prompts, ReadTokenLists(body, "prompt", tokenizer, kMaxPrompts));
  if (static_cast<int64_t>(request.prompts.size()) * options.choices > kMaxChoices * 2) {
    return ParameterError("n", "prompts times 'n' must be at most " + std::to_string(kMaxChoices * 2));
  }
  return request;
}

}  // namespace fedglm
