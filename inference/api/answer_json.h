// What the two completion APIs answer with: whole answers, and the chunks of a stream.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_forward.h"
#include "inference/api/tools.h"
#include "inference/engine/engine.h"

namespace fedglm {

// What all chunks of one answer share.
struct AnswerIdentity {
  std::string id;  // "chatcmpl-…" or "cmpl-…"
  std::string model;
  int64_t created = 0;  // seconds since 1970
};

struct TokenUsage {
  int64_t prompt = 0, cached = 0, answer = 0;
};
Json UsageJson(const TokenUsage& usage);

std::string_view FinishReasonName(FinishReason reason);  // "stop" or "length"

// "data: {…}\n\n", and the one that ends a stream.
std::string Event(const Json& data);
inline constexpr std::string_view kLastEvent = "data: [DONE]\n\n";

// chat.completion: `choices` are ChatChoice's. chat.completion.chunk: ChatDelta's.
Json ChatChoice(int index, const std::string& text, const std::optional<ToolCall>& call, std::string_view reason,
                const Json& logprobs);
Json ChatDelta(int index, Json delta, const Json& logprobs, const Json& finish_reason);
Json ChatAnswer(const AnswerIdentity& identity, std::string_view object, Json choices);
// The part of a delta that begins a call (arguments empty) or goes on with it (`id` and `name` empty).
Json ToolCallDelta(const std::string& id, const std::string& name, const std::string& arguments);

// text_completion, whole or a chunk: `finish_reason` null while it goes on.
Json TextChoice(int index, const std::string& text, const Json& logprobs, const Json& finish_reason);
Json TextAnswer(const AnswerIdentity& identity, Json choices);

}  // namespace fedglm
