// The bodies of OpenAI's chat completion API: reading a request, writing its answers.
// https://platform.openai.com/docs/api-reference/chat
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "inference/engine/engine.h"

namespace fedglm {

struct ChatCompletionRequest {
  std::vector<ChatMessage> messages;
  int64_t max_tokens = 0;  // 0: as many as the context has room for
  SamplingOptions sampling;
  std::vector<std::string> stop;
  bool stream = false;
  bool stream_usage = false;  // stream_options.include_usage
};

// UsageError naming the field that is wrong. Unknown fields are ignored, as OpenAI's clients expect.
absl::StatusOr<ChatCompletionRequest> ParseChatCompletionRequest(std::string_view body);

// What all chunks of one answer share.
struct CompletionIdentity {
  std::string id;     // "chatcmpl-…"
  std::string model;
  int64_t created = 0;  // seconds since 1970
};

Json ChatCompletionJson(const CompletionIdentity& identity, const GenerationResult& result);
// One server-sent event: "data: {…}\n\n".
std::string ChunkEvent(const CompletionIdentity& identity, const Json& delta, const Json& finish_reason);
std::string UsageEvent(const CompletionIdentity& identity, const GenerationResult& result);
std::string_view FinishReasonName(FinishReason reason);

}  // namespace fedglm
