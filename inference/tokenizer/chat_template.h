// How a conversation is written as tokens: GLM-4, ChatML and Llama 2/3 forms, chosen from the GGUF's own template.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

struct ChatMessage {
  std::string role;  // system, user, assistant, tool
  std::string content;
};

enum class ChatFormat { kGlm4, kChatMl, kLlama2, kLlama3 };

struct ChatTemplate {
  ChatFormat format = ChatFormat::kChatMl;
  std::string default_system;  // what the model's own template says if there is no system message; empty: nothing
};

// From tokenizer.chat_template; without one, from the control tokens in the vocabulary, else ChatML.
ChatTemplate DetectChatTemplate(const GgufFile& file, const Tokenizer& tokenizer);

// A part of the rendered conversation. Only template text may become control tokens: content never does.
struct ChatPart {
  std::vector<Token> tokens;
  bool answer = false;  // an assistant's content and the token that ends its turn: what training computes its loss on
};

// UsageError for an unknown role or no messages. With `add_generation_prompt` it ends where the assistant begins to
// speak. The parts joined are the tokens, beginning with what the model's template begins with ([gMASK]<sop>, BOS).
// An answer is tokenized on its own, since it is written after a prompt that ends where it begins.
absl::StatusOr<std::vector<ChatPart>> RenderChat(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                                 const std::vector<ChatMessage>& messages, bool add_generation_prompt);

std::vector<Token> JoinParts(const std::vector<ChatPart>& parts);

}  // namespace fedglm
