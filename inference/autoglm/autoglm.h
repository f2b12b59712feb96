// Open-AutoGLM's dialogue about a phone's screen, its text part: https://github.com/zai-org/Open-AutoGLM
//
//   system     how to answer
//   user       the task, and {"current_app": "…"}
//   assistant  <think>…</think><answer>do(action="Tap", element=[500,120])</answer>
//   user       ** Screen Info ** and {"current_app": "…"}
//   …
//   assistant  <think>…</think><answer>finish(message="…")</answer>
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "inference/tokenizer/chat_template.h"

namespace fedglm {

// In thousandths of the screen's width and height, from the top left: 0 to 999.
struct ScreenPoint {
  int x = 0;
  int y = 0;
  bool operator==(const ScreenPoint&) const = default;
};

struct AutoglmReply {
  std::string thinking;
  // "Launch", "Tap", "Type", "Type_Name", "Interact", "Swipe", "Note", "Call_API", "Long Press", "Double Tap",
  // "Take_over", "Back", "Home", "Wait"; or "finish", which ends the task.
  std::string action;
  // What the action takes; the others are not set.
  std::optional<ScreenPoint> element, start, end;
  std::optional<std::string> app, text, message, instruction, duration;
  bool operator==(const AutoglmReply&) const = default;
};

// Reads as Open-AutoGLM's client does: tags may be missing, quotes within the text of Type and finish need no escape.
// BadFile saying what is wrong with the action: unknown, a field missing, unknown or twice, a point off the screen.
absl::StatusOr<AutoglmReply> ParseAutoglmReply(std::string_view text);

// The reply as text, as it is kept in the dialogue. It reads back as the same reply if it came from a text.
std::string WriteAutoglmReply(const AutoglmReply& reply);

// GBNF of replies that always parse, here and in Open-AutoGLM's client. Thoughts have no '<' and no '=' in it, texts no
// '"' and no '\'.
std::string AutoglmGrammar();

// The messages of a dialogue. The client sends its own system message; this one is for records and trials without it.
// `date`: of today, as the model shall read it.
ChatMessage AutoglmSystemMessage(std::string_view date);
ChatMessage AutoglmTaskMessage(std::string_view task, std::string_view current_app);
ChatMessage AutoglmScreenMessage(std::string_view current_app);
ChatMessage AutoglmReplyMessage(const AutoglmReply& reply);

}  // namespace fedglm
