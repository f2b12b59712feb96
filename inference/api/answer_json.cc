#include "inference/api/answer_json.h"
#include "base/json.h"

namespace fedglm {

Json UsageJson(const TokenUsage& usage) {
  return {{"prompt_tokens", usage.prompt},
          {"completion_tokens", usage.answer},
          {"total_tokens", usage.prompt + usage.answer},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached}}}};
}

std::string_view FinishReasonName(FinishReason reason) { return reason == FinishReason::kLength ? "length" : "stop"; }

std::string Event(const Json& data) { return "data: " + DumpJson(data) + "\n\n"; }

Json ChatChoice(int index, const std::string& text, const std::optional<ToolCall>& call, std::string_view reason,
                const Json& logprobs) {
  Json message = {{"role", "assistant"}, {"content", call ? Json() : Json(text)}, {"refusal", nullptr}};
  if (call) {
    message["tool_calls"] = Json::array({{{"id", call->id},
                                          {"type", "function"},
                                          {"function", {{"name", call->name}, {"arguments", call->arguments}}}}});
  }
  return {{"index", index},
          {"message", std::move(message)},
          {"logprobs", logprobs},
          {"finish_reason", std::string(reason)}};
}

Json ChatDelta(int index, Json delta, const Json& logprobs, const Json& finish_reason) {
  return {{"index", index}, {"delta", std::move(delta)}, {"logprobs", logprobs}, {"finish_reason", finish_reason}};
}

Json ChatAnswer(const AnswerIdentity& identity, std::string_view object, Json choices) {
  return {{"id", identity.id},
          {"object", std::string(object)},
          {"created", identity.created},
          {"model", identity.model},
          {"choices", std::move(choices)}};
}

Json ToolCallDelta(const std::string& id, const std::string& name, const std::string& arguments) {
  Json call = {{"index", 0}};
  if (!id.empty()) {
    call["id"] = id;
    call["type"] = "function";
    call["function"]["name"] = name;
  }
  call["function"]["arguments"] = arguments;
  return {{"tool_calls", Json::array({std::move(call)})}};
}

Json TextChoice(int index, const std::string& text, const Json& logprobs, const Json& finish_reason) {
  return {{"index", index}, {"text", text}, {"logprobs", logprobs}, {"finish_reason", finish_reason}};
}

Json TextAnswer(const AnswerIdentity& identity, Json choices) {
  return ChatAnswer(identity, "text_completion", std::move(choices));
}

}  // namespace fedglm
