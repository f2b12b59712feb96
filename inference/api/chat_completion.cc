#include "inference/api/chat_completion.h"

namespace fedglm {
namespace {

absl::Status FieldError(std::string_view field, std::string_view expected) {
  return UsageError("'" + std::string(field) + "' must be " + std::string(expected));
}

// A text, or the text parts of a list of parts (the only kind that a text model can read).
absl::StatusOr<std::string> ReadContent(const Json& content) {
  if (content.is_null()) return std::string();
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) return FieldError("messages[].content", "a string or a list of text parts");
  std::string text;
  for (const Json& part : content) {
    if (!part.is_object() || part.value("type", "") != "text" || !part.contains("text") || !part["text"].is_string()) {
      return FieldError("messages[].content[]", "a text part: this model reads text only");
    }
    text += part["text"].get<std::string>();
  }
  return text;
}

absl::Status ReadMessages(const Json& body, std::vector<ChatMessage>& messages) {
  if (!body.contains("messages") || !body["messages"].is_array() || body["messages"].empty()) {
    return FieldError("messages", "a list of at least one message");
  }
  for (const Json& item : body["messages"]) {
    if (!item.is_object() || !item.contains("role") || !item["role"].is_string()) {
      return FieldError("messages[].role", "a string");
    }
    ChatMessage message;
    message.role = item["role"].get<std::string>();
    if (message.role == "developer") message.role = "system";  // OpenAI's newer name for it
    FEDGLM_ASSIGN_OR_RETURN(message.content, ReadContent(item.contains("content") ? item["content"] : Json()));
    messages.push_back(std::move(message));
  }
  return absl::OkStatus();
}

absl::StatusOr<double> ReadNumber(const Json& body, const char* field, double fallback, double low, double high) {
  if (!body.contains(field) || body[field].is_null()) return fallback;
  if (!body[field].is_number()) return FieldError(field, "a number");
  const double value = body[field].get<double>();
  if (!(value >= low && value <= high)) {
    return FieldError(field, "between " + DumpJson(low) + " and " + DumpJson(high));
  }
  return value;
}

absl::StatusOr<int64_t> ReadCount(const Json& body, const char* field, int64_t fallback, int64_t low) {
  if (!body.contains(field) || body[field].is_null()) return fallback;
  if (!body[field].is_number_integer() || body[field].get<int64_t>() < low) {
    return FieldError(field, "an integer of at least " + std::to_string(low));
  }
  return body[field].get<int64_t>();
}

absl::StatusOr<bool> ReadFlag(const Json& body, const char* field) {
  if (!body.contains(field) || body[field].is_null()) return false;
  if (!body[field].is_boolean()) return FieldError(field, "true or false");
  return body[field].get<bool>();
}

absl::Status ReadStop(const Json& body, std::vector<std::string>& stop) {
  if (!body.contains("stop") || body["stop"].is_null()) return absl::OkStatus();
  const Json& value = body["stop"];
  if (value.is_string()) {
    stop.push_back(value.get<std::string>());
    return absl::OkStatus();
  }
  if (!value.is_array() || value.size() > 16) return FieldError("stop", "a string or a list of at most 16");
  for (const Json& text : value) {
    if (!text.is_string()) return FieldError("stop[]", "a string");
    stop.push_back(text.get<std::string>());
  }
  return absl::OkStatus();
}

Json Usage(const GenerationResult& result) {
  const auto answer = static_cast<int64_t>(result.tokens.size());
  return {{"prompt_tokens", result.prompt_tokens}, {"completion_tokens", answer}, {"total_tokens", result.prompt_tokens + answer}};
}

Json Chunk(const CompletionIdentity& identity, Json choices) {
  return {{"id", identity.id}, {"object", "chat.completion.chunk"}, {"created", identity.created},
          {"model", identity.model}, {"choices", std::move(choices)}};
}

}  // namespace

absl::StatusOr<ChatCompletionRequest> ParseChatCompletionRequest(std::string_view text) {
  FEDGLM_ASSIGN_OR_RETURN(const Json body, ParseJson(text, "request body"));
  if (!body.is_object()) return UsageError("the request body must be a JSON object");
  ChatCompletionRequest request;
  FEDGLM_RETURN_IF_ERROR(ReadMessages(body, request.messages));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t old_name, ReadCount(body, "max_tokens", 0, 1));
  FEDGLM_ASSIGN_OR_RETURN(request.max_tokens, ReadCount(body, "max_completion_tokens", old_name, 1));
  SamplingOptions& sampling = request.sampling;
  FEDGLM_ASSIGN_OR_RETURN(sampling.temperature, ReadNumber(body, "temperature", 1.0, 0, 2));
  FEDGLM_ASSIGN_OR_RETURN(sampling.top_p, ReadNumber(body, "top_p", 1.0, 0, 1));
  FEDGLM_ASSIGN_OR_RETURN(sampling.min_p, ReadNumber(body, "min_p", 0.0, 0, 1));
  FEDGLM_ASSIGN_OR_RETURN(sampling.repetition_penalty, ReadNumber(body, "repetition_penalty", 1.0, 0.01, 100));
  FEDGLM_ASSIGN_OR_RETURN(sampling.top_k, ReadCount(body, "top_k", 0, 0));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t seed, ReadCount(body, "seed", 0, INT64_MIN));
  sampling.seed = static_cast<uint64_t>(seed);
  FEDGLM_ASSIGN_OR_RETURN(const int64_t choices, ReadCount(body, "n", 1, 1));
  if (choices != 1) return FieldError("n", "1");
  FEDGLM_RETURN_IF_ERROR(ReadStop(body, request.stop));
  FEDGLM_ASSIGN_OR_RETURN(request.stream, ReadFlag(body, "stream"));
  if (body.contains("stream_options") && body["stream_options"].is_object()) {
    FEDGLM_ASSIGN_OR_RETURN(request.stream_usage, ReadFlag(body["stream_options"], "include_usage"));
  }
  return request;
}

std::string_view FinishReasonName(FinishReason reason) { return reason == FinishReason::kLength ? "length" : "stop"; }

Json ChatCompletionJson(const CompletionIdentity& identity, const GenerationResult& result) {
  const Json choice = {{"index", 0},
                       {"message", {{"role", "assistant"}, {"content", result.text}}},
                       {"logprobs", nullptr},
                       {"finish_reason", std::string(FinishReasonName(result.reason))}};
  return {{"id", identity.id},       {"object", "chat.completion"},        {"created", identity.created},
          {"model", identity.model}, {"choices", Json::array({choice})}, {"usage", Usage(result)}};
}

std::string ChunkEvent(const CompletionIdentity& identity, const Json& delta, const Json& finish_reason) {
  const Json choice = {{"index", 0}, {"delta", delta}, {"finish_reason", finish_reason}};
  return "data: " + DumpJson(Chunk(identity, Json::array({choice}))) + "\n\n";
}

std::string UsageEvent(const CompletionIdentity& identity, const GenerationResult& result) {
  Json chunk = Chunk(identity, Json::array());
  chunk["usage"] = Usage(result);
  return "data: " + DumpJson(chunk) + "\n\n";
}

}  // namespace fedglm
