#include "base/json.h"
#include "inference/api/chat_request.h"
#include "inference/api/request_fields.h"
#include "inference/api/routes.h"

namespace fedglm {
namespace {

absl::StatusOr<std::vector<Token>> Tokenize(const ApiContext& context, const Json& body) {
  const Engine& engine = context.engine;
  if (FindField(body, "messages") != nullptr) {
    FEDGLM_ASSIGN_OR_RETURN(const std::vector<ChatMessage> messages, ReadMessages(body));
    FEDGLM_ASSIGN_OR_RETURN(const auto parts, RenderChat(engine.chat_template(), engine.tokenizer(), messages, true));
    return JoinParts(parts);
  }
  const char* const field = FindField(body, "content") != nullptr ? "content" : "prompt";
  if (FindField(body, field) == nullptr) return ParameterError("content", "'content' is missing");
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadText(body, field, kMaxBodyBytes));
  FEDGLM_ASSIGN_OR_RETURN(const bool special, ReadFlag(body, "add_special", true));
  return engine.tokenizer().Encode(text, {.add_special = special});
}

}  // namespace

void AnswerTokenize(ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const absl::StatusOr<Json> body = ReadBody(*exchange);
  if (!body.ok()) return exchange->SendStatus(body.status());
  const absl::StatusOr<bool> with_pieces = ReadFlag(*body, "with_pieces");
  if (!with_pieces.ok()) return exchange->SendStatus(with_pieces.status());
  const absl::StatusOr<std::vector<Token>> tokens = Tokenize(context, *body);
  if (!tokens.ok()) return exchange->SendStatus(tokens.status());
  Json answer = {{"tokens", *tokens}, {"count", tokens->size()}, {"max_model_len", context.engine.context()}};
  if (*with_pieces) {
    answer["pieces"] = Json::array();
    for (const Token token : *tokens) answer["pieces"].push_back(context.engine.tokenizer().Piece(token, true));
  }
  exchange->SendJson(answer);
}

void AnswerDetokenize(ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const absl::StatusOr<Json> body = ReadBody(*exchange);
  if (!body.ok()) return exchange->SendStatus(body.status());
  const Tokenizer& tokenizer = context.engine.tokenizer();
  const Json* const list = FindField(*body, "tokens");
  const std::string expected = "a list of token ids below " + std::to_string(tokenizer.size());
  if (list == nullptr || !list->is_array()) return exchange->SendStatus(MustBe("tokens", expected));
  std::vector<Token> tokens;
  for (const Json& item : *list) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() >= static_cast<uint64_t>(tokenizer.size())) {
      return exchange->SendStatus(MustBe("tokens", expected));
    }
    tokens.push_back(static_cast<Token>(item.get<uint64_t>()));
  }
  const std::string text = tokenizer.Decode(tokens, true);
  exchange->SendJson({{"content", text}, {"prompt", text}});  // llama.cpp's name and vLLM's
}

}  // namespace fedglm
