#include "inference/api/chat_request.h"

#include <algorithm>
#include <set>

#include "base/json.h"
#include "inference/api/api_error.h"
#include "inference/api/request_fields.h"

namespace fedglm {
namespace {

// A text, or the text parts of a list of parts (the only kind that a text model can read).
absl::StatusOr<std::string> ReadContent(const Json& content, const std::string& place) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) return MustBe(place, "a string or a list of parts");
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const Json& part = content[i];
    const std::string part_place = place + "[" + std::to_string(i) + "]";
    const Json* const type = part.is_object() ? FindField(part, "type") : nullptr;
    if (type == nullptr || !type->is_string()) return MustBe(part_place + ".type", "a string");
    if (*type == "image_url" || *type == "image" || *type == "input_image") {
      return ParameterError(part_place, "this server reads text only: it has no vision, so it cannot look at an image",
                            "vision_not_supported");
    }
    if (*type != "text") return MustBe(part_place + ".type", "text: this model reads nothing else");
    const Json* const part_text = FindField(part, "text");
    if (part_text == nullptr || !part_text->is_string()) return MustBe(part_place + ".text", "a string");
    text += part_text->get_ref<const std::string&>();
  }
  return text;
}

// Calls that an assistant made earlier: one message each, as the model would have written them.
absl::Status ReadToolCalls(const Json& calls, const std::string& place, std::set<std::string>& ids,
                           std::vector<ChatMessage>& messages) {
  if (!calls.is_array() || calls.empty() || calls.size() > kMaxTools) return MustBe(place, "a list of calls");
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string call_place = place + "[" + std::to_string(i) + "]";
    const Json* const id = calls[i].is_object() ? FindField(calls[i], "id") : nullptr;
    if (id == nullptr || !id->is_string()) return MustBe(call_place + ".id", "a string");
    const Json* const function = FindField(calls[i], "function");
    const Json* const name = function != nullptr && function->is_object() ? FindField(*function, "name") : nullptr;
    if (name == nullptr || !name->is_string()) return MustBe(call_place + ".function.name", "a string");
    const Json* const arguments = FindField(*function, "arguments");
    if (arguments == nullptr || !arguments->is_string()) return MustBe(call_place + ".function.arguments", "a string");
    ids.insert(id->get<std::string>());
    messages.push_back({"assistant", arguments->get<std::string>(), name->get<std::string>()});
  }
  return absl::OkStatus();
}

absl::Status ReadMessage(const Json& item, const std::string& place, std::set<std::string>& call_ids,
                         std::vector<ChatMessage>& messages) {
  const Json* const role = item.is_object() ? FindField(item, "role") : nullptr;
  ChatMessage message;
  if (role != nullptr && role->is_string()) message.role = role->get<std::string>();
  if (message.role == "developer") message.role = "system";  // OpenAI's newer name for it
  if (message.role != "system" && message.role != "user" && message.role != "assistant" && message.role != "tool") {
    return MustBe(place + ".role", "system, developer, user, assistant or tool");
  }
  const Json* const calls = message.role == "assistant" ? FindField(item, "tool_calls") : nullptr;
  if (const Json* const content = FindField(item, "content"); content != nullptr) {
    FEDGLM_ASSIGN_OR_RETURN(message.content, ReadContent(*content, place + ".content"));
  } else if (calls == nullptr) {
    return MustBe(place + ".content", "a string or a list of parts");
  }
  if (message.role == "tool") {
    const Json* const id = FindField(item, "tool_call_id");
    if (id == nullptr || !id->is_string() || call_ids.count(id->get<std::string>()) == 0) {
      return MustBe(place + ".tool_call_id", "the id of a call in an assistant's message before it");
    }
  }
  if (calls == nullptr || !message.content.empty()) messages.push_back(std::move(message));
  return calls == nullptr ? absl::OkStatus() : ReadToolCalls(*calls, place + ".tool_calls", call_ids, messages);
}

absl::Status ReadLogprobs(const Json& body, AnswerOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const bool wanted, ReadFlag(body, "logprobs"));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t top, ReadCount(body, "top_logprobs", 0, 0, kMaxTopLogprobs));
  if (!wanted && top > 0) return ParameterError("top_logprobs", "'top_logprobs' is only for 'logprobs': true");
  if (wanted) options.logprobs = top;
  return absl::OkStatus();
}

// The tools are a system message: GLM-4 has one of its own for them; others get one system message with everything.
void AddTools(const std::vector<Tool>& tools, ChatFormat format, std::vector<ChatMessage>& messages) {
  std::string text = DescribeTools(tools, format);
  if (format != ChatFormat::kGlm4 && messages.front().role == "system") {
    messages.front().content = text + "\n\n" + messages.front().content;
  } else {
    messages.insert(messages.begin(), {"system", std::move(text)});
  }
}

}  // namespace

absl::StatusOr<std::vector<ChatMessage>> ReadMessages(const Json& body) {
  const Json* const list = FindField(body, "messages");
  if (list == nullptr || !list->is_array() || list->empty() || list->size() > kMaxMessages) {
    return MustBe("messages", "a list of 1 to " + std::to_string(kMaxMessages) + " messages");
  }
  std::vector<ChatMessage> messages;
  std::set<std::string> call_ids;
  for (size_t i = 0; i < list->size(); ++i) {
    FEDGLM_RETURN_IF_ERROR(ReadMessage((*list)[i], "messages[" + std::to_string(i) + "]", call_ids, messages));
  }
  return messages;
}

absl::StatusOr<ChatRequest> ParseChatRequest(const Json& body) {
  if (!body.is_object()) return UsageError("the request body must be a JSON object");
  ChatRequest request;
  FEDGLM_ASSIGN_OR_RETURN(request.messages, ReadMessages(body));
  FEDGLM_ASSIGN_OR_RETURN(request.options, ReadAnswerOptions(body));
  FEDGLM_RETURN_IF_ERROR(ReadLogprobs(body, request.options));
  FEDGLM_ASSIGN_OR_RETURN(request.tools, ReadTools(body));
  FEDGLM_ASSIGN_OR_RETURN(request.tool_choice, ReadToolChoice(body, request.tools));
  FEDGLM_RETURN_IF_ERROR(ReadFlag(body, "parallel_tool_calls").status());
  if (request.tool_choice.use == ToolUse::kNone) request.tools.clear();
  if (!request.tools.empty() && request.options.format == AnswerFormat::kGrammar) {
    return ParameterError("grammar", "'grammar' and 'tools' cannot both say what the answer looks like");
  }
  return request;
}

absl::StatusOr<std::vector<Token>> RenderPrompt(const ChatRequest& request, const ChatTemplate& chat_template,
                                                const Tokenizer& tokenizer) {
  std::vector<ChatMessage> messages = request.messages;
  if (!request.tools.empty()) AddTools(request.tools, chat_template.format, messages);
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<ChatPart> parts, RenderChat(chat_template, tokenizer, messages, true));
  std::vector<Token> tokens = JoinParts(parts);
  // A GLM-4 call stands in the line of <|assistant|> itself, an answer in the next: with tools the model chooses.
  if (chat_template.format == ChatFormat::kGlm4 && !request.tools.empty()) {
    const std::optional<Token> assistant = tokenizer.Find("<|assistant|>");
    while (assistant && !tokens.empty() && tokens.back() != *assistant) tokens.pop_back();
  }
  return tokens;
}

}  // namespace fedglm
