#include "inference/tokenizer/chat_template.h"

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_targets.h"
#include "tests/fuzz/golden_tokenizer.h"
#include "tests/support/raw_gguf.h"

namespace fedglm::fuzz {
namespace {

int64_t ControlTokens(const std::vector<ChatPart>& parts) {
  const std::vector<Token> tokens = JoinParts(parts);
  return std::count_if(tokens.begin(), tokens.end(), [](Token token) { return GoldenTokenizer().IsControl(token); });
}

}  // namespace

// A template, then messages: a byte for the role, and the content; each ends with NUL. Whatever a message says, it adds
// no control token: those are the template's alone.
void ChatTemplate(std::string_view input) {
  const std::string template_text(TakeField(input));
  RawGguf raw;
  raw.keys = {{"tokenizer.ggml.model", gguf_format::kString, GgufString("gpt2")},
              {"tokenizer.chat_template", gguf_format::kString, GgufString(template_text)}};
  const std::string bytes = raw.Bytes();
  const auto file = GgufFile::Parse(std::as_bytes(std::span(bytes)), "input");
  Require(file.ok(), "a file that holds a template is one");
  const fedglm::ChatTemplate chat_template = DetectChatTemplate(**file, GoldenTokenizer());

  static const char* const kRoles[] = {"user", "assistant", "system", "tool"};
  std::vector<ChatMessage> messages, harmless;
  while (!input.empty() && messages.size() < 16) {
    const std::string role = kRoles[TakeByte(input) % 4];
    messages.push_back({role, std::string(TakeField(input))});
    harmless.push_back({role, "x"});
  }
  for (const bool prompt : {false, true}) {
    const auto chat = RenderChat(chat_template, GoldenTokenizer(), messages, prompt);
    Require(chat.ok() == !messages.empty(), "a conversation is rendered, unless it is none");
    if (!chat.ok()) continue;
    const auto expected = RenderChat(chat_template, GoldenTokenizer(), harmless, prompt);
    Require(expected.ok() && ControlTokens(*chat) == ControlTokens(*expected), "no message writes a control token");
  }
}

}  // namespace fedglm::fuzz
