// Open-AutoGLM's dialogue about a phone's screen, its text part: https://github.com/zai-org/Open-AutoGLM
//
//   system     the date, how to answer, the actions
//   user       the task, an empty line, {"current_app": "…"}
//   assistant  <think>…</think>
//              <answer>do(action="Tap", element=[500,120])</answer>
//   user       ** Screen Info **, an empty line, {"current_app": "…"}
//   …
//   assistant  <think>…</think>
//              <answer>finish(message="…")</answer>
//
// </answer> is a token that ends the model's turn: an API's answer comes without it, and with it in its text the client
// reads no action at all. What was checked against the client: docs/grammar.md.
#pragma once

#include <chrono>
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

// Reads a reply from wherever it stands: an API's answer, the client's history (AutoglmHistoryMessage), a record with
// </answer>. As in the client the action begins at the first "finish(message=", else at the first "do(action=", else
// after <answer>; the texts of Type and finish are taken as they are, others with Python's escapes. BadFile saying what
// is wrong with the action: unknown, a field missing that the client cannot do without, a text that does not end; and,
// where the client would go on, a field that is unknown or there twice, or a point off the screen.
absl::StatusOr<AutoglmReply> ParseAutoglmReply(std::string_view text);

// The reply as the model is to write it, </answer> included. It reads back as the same reply if it came from a text.
std::string WriteAutoglmReply(const AutoglmReply& reply);

// GBNF of answers that always parse, here and in Open-AutoGLM's client: they end with the action. Thoughts have no '<'
// and no '=' in them, texts no '<', no '"' and not "finish(message=", at which the client would cut.
std::string AutoglmGrammar();

enum class AutoglmLanguage { kChinese, kEnglish };

// The messages of a dialogue. The client sends its own system message, much longer; this one is for records and trials
// without it. `today` is a valid date.
ChatMessage AutoglmSystemMessage(AutoglmLanguage language, std::chrono::year_month_day today);
ChatMessage AutoglmTaskMessage(std::string_view task, std::string_view current_app);
ChatMessage AutoglmScreenMessage(std::string_view current_app);
ChatMessage AutoglmReplyMessage(const AutoglmReply& reply);
// What the client's next request says of `answer`, an API's: cut at the action and wrapped in tags once more,
// <think><think>…</think>\n<answer></think><answer>do(…)</answer>.
ChatMessage AutoglmHistoryMessage(std::string_view answer);

}  // namespace fedglm
