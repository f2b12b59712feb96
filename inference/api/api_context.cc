#include "inference/api/api_context.h"

#include <algorithm>

#include "base/json.h"
#include "inference/api/answer_options.h"
#include "inference/api/request_fields.h"

namespace fedglm {
namespace {

constexpr int64_t kBytesPerToken = 4;       // of text, for prompts that another server's tokenizer will read
constexpr int64_t kMostBytesPerToken = 16;  // of usual text: a beginning of so many times the context says enough

absl::Status TooLong(const ApiContext& context, const char* field, const std::string& tokens) {
  return ParameterError(
      field, "the prompt is " + tokens + " tokens, and the context is " + std::to_string(context.engine.context()),
      "context_length_exceeded");
}

bool LacksRoom(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable || status.code() == absl::StatusCode::kResourceExhausted;
}

}  // namespace

absl::StatusOr<Json> ReadBody(const Exchange& exchange) {
  absl::StatusOr<Json> body = ParseJson(exchange.body(), "request body", kMaxJsonBytes);
  if (!body.ok()) return UsageError(Message(body.status()));  // no file of the server's is bad
  if (!body->is_object()) return UsageError("the request body must be a JSON object");
  return body;
}

absl::StatusOr<std::string> AdapterOfModel(const ApiContext& context, const std::string& model) {
  if (model.empty() || model == context.options.model_name) return std::string();
  if (model == kBaseAdapter) return std::string(kBaseAdapter);
  const std::vector<std::string> adapters = context.engine.AdapterNames();
  if (std::binary_search(adapters.begin(), adapters.end(), model)) return model;
  return NotFoundError("the model '" + model + "' does not exist here; /v1/models lists those that do");
}

bool AnsweredByUpstreamModel(ApiContext& context, const std::shared_ptr<Exchange>& exchange, const std::string& path,
                             const Json& body) {
  const Json* const model = FindField(body, "model");
  if (model == nullptr || !model->is_string() || !context.upstreams.HasModel(model->get<std::string>())) return false;
  exchange->facts.model = model->get<std::string>();
  const auto tokens = static_cast<int64_t>(exchange->body().size()) / kBytesPerToken;
  if (!TakePromptTokens(context, *exchange, tokens)) return true;
  if (context.upstreams.Answer(exchange, path, body, exchange->facts.model)) return true;
  if (exchange->ClientHasGone()) {
    exchange->SendToNobody();
    return true;
  }
  if (exchange->TimeIsUp(context.options.request_seconds)) {
    exchange->SendStatus(absl::DeadlineExceededError("the answer took too long"));
    return true;
  }
  ApiError error;
  error.status = 502;
  error.code = "upstream_unreachable";
  error.message = "the server that has this model does not answer";
  error.retry_after_seconds = 5;
  exchange->SendError(error);
  return true;
}

void RefuseOrHandOver(ApiContext& context, const std::shared_ptr<Exchange>& exchange, const absl::Status& status,
                      const std::string& path, const Json& body) {
  const bool may_hand_over = LacksRoom(status) && context.upstreams.HasFallback();
  if (may_hand_over && context.upstreams.Answer(exchange, path, body, "")) return;
  if (may_hand_over && exchange->ClientHasGone()) return exchange->SendToNobody();  // while others were asked
  exchange->SendStatus(status);
}

bool TakePromptTokens(ApiContext& context, Exchange& exchange, int64_t tokens) {
  exchange.facts.prompt_tokens = tokens;
  if (exchange.key == nullptr) return true;
  const RateDecision decision = context.limiter.TakePrompt(*exchange.key, tokens);
  SendRateDecision(decision, exchange);
  return decision.allowed;
}

void SendRateDecision(const RateDecision& decision, Exchange& exchange) {
  for (const auto& [name, value] : decision.headers) exchange.AddHeader(name, value);
  if (decision.allowed) return;
  ApiError error;
  error.status = 429;
  error.type = decision.limit == "parallel" ? "requests" : decision.limit;  // as OpenAI has it
  error.code = "rate_limit_exceeded";
  error.message = decision.limit == "parallel" ? "this API key has too many requests running"
                                               : "this API key has used its " + decision.limit + " of this minute";
  error.retry_after_seconds = decision.retry_after_seconds;
  exchange.facts.refusal = decision.limit;
  exchange.SendError(error);
}

absl::Status CheckPromptFits(const ApiContext& context, int64_t prompt_tokens, const char* field) {
  if (prompt_tokens < context.engine.context()) return absl::OkStatus();
  return TooLong(context, field, std::to_string(prompt_tokens));
}

absl::Status CheckTextFits(const ApiContext& context, std::string_view text, const char* field) {
  const int64_t most = context.engine.context();
  const std::string_view beginning = text.substr(0, static_cast<size_t>(most * kMostBytesPerToken));
  if (text.size() < 2 * beginning.size()) return absl::OkStatus();
  // The whole can take a few tokens less than its beginning, whose last word is cut off.
  const auto tokens = static_cast<int64_t>(context.engine.tokenizer().Encode(beginning, {}).size());
  if (tokens < most + most / 8 + 16) return absl::OkStatus();
  return TooLong(context, field, "more than " + std::to_string(most));
}

absl::Status CheckTextsFit(const ApiContext& context, const Json& body, const char* field) {
  const Json* const value = FindField(body, field);
  // What else is wrong with it, its reader says.
  const auto check = [&](const Json& text) {
    return text.is_string() ? CheckTextFits(context, text.get_ref<const std::string&>(), field) : absl::OkStatus();
  };
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_array()) return check(*value);
  for (const Json& text : *value) FEDGLM_RETURN_IF_ERROR(check(text));
  return absl::OkStatus();
}

}  // namespace fedglm
