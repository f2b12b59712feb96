#include "inference/api/chat_request.h"

#include <string>

#include "base/json.h"
#include "inference/api/api_error.h"
#include "inference/api/completion_request.h"
#include "inference/api/output_grammar.h"
#include "tests/fuzz/fuzz_targets.h"
#include "tests/fuzz/golden_tokenizer.h"

namespace fedglm::fuzz {
namespace {

// A request is understood, or the client is told what is wrong with it: never that the server is.
bool WasUnderstood(const absl::Status& status) {
  if (status.ok()) return true;
  const ApiError error = ToApiError(status);
  Require(error.status >= 400 && error.status < 500, "a bad request is the client's error");
  (void)DumpJson(ErrorJson(error));
  return false;
}

}  // namespace

void ChatRequest(std::string_view input) {
  const auto body = ParseJson(input, "body");
  if (!body.ok() || !body->is_object()) return;
  const auto chat = ParseChatRequest(*body);
  if (WasUnderstood(chat.status())) {
    for (const ChatFormat format : {ChatFormat::kGlm4, ChatFormat::kChatMl, ChatFormat::kLlama3}) {
      (void)WasUnderstood(RenderPrompt(*chat, {.format = format}, GoldenTokenizer()).status());
    }
    (void)WasUnderstood(OutputGrammar(chat->options, chat->tools, chat->tool_choice).status());
  }
  const auto completion = ParseCompletionRequest(*body, GoldenTokenizer());
  if (!WasUnderstood(completion.status())) return;
  for (const auto& prompt : completion->prompts) {
    for (const Token token : prompt) {
      Require(token >= 0 && token < GoldenTokenizer().size(), "a token is one of the vocabulary");
    }
  }
}

}  // namespace fedglm::fuzz
