// Reading the body of POST /v1/chat/completions. https://platform.openai.com/docs/api-reference/chat
#pragma once

#include <string_view>
#include <vector>

#include "base/json_forward.h"
#include "base/status.h"
#include "inference/api/answer_options.h"
#include "inference/api/tools.h"
#include "inference/tokenizer/chat_template.h"

namespace fedglm {

struct ChatRequest {
  AnswerOptions options;
  std::vector<ChatMessage> messages;
  std::vector<Tool> tools;  // empty if tool_choice is "none"
  ToolChoice tool_choice;
};

// ParameterError naming the field that is wrong; for an image part its code is "vision_not_supported".
absl::StatusOr<ChatRequest> ParseChatRequest(const Json& body);

// `messages` of a body: texts, calls of tools and their results. Also what /tokenize reads.
absl::StatusOr<std::vector<ChatMessage>> ReadMessages(const Json& body);

// The tokens of the prompt, up to where the assistant begins to speak.
absl::StatusOr<std::vector<Token>> RenderPrompt(const ChatRequest& request, const ChatTemplate& chat_template,
                                                const Tokenizer& tokenizer);

}  // namespace fedglm
