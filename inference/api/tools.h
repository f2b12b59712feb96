// Functions that a model may call, in GLM-4's format: the system message holds their JSON definitions, and a call is
// the function's name, a newline, and its arguments as JSON, where otherwise the answer would stand.
// https://huggingface.co/THUDM/GLM-4-9B-0414/blob/main/chat_template.jinja
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "inference/tokenizer/chat_template.h"

namespace fedglm {

struct Tool {
  std::string name;
  Json definition;      // OpenAI's "function": name, description, parameters
  Json parameters;      // a JSON schema; an object without properties if none was given
  bool strict = false;  // arguments of another schema must never come, so one that is not supported is refused
};

enum class ToolUse { kNone, kAuto, kRequired };

struct ToolChoice {
  ToolUse use = ToolUse::kAuto;
  std::string name;  // of kRequired: this one; empty: any
};

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text, as the model wrote it
};

// `tools`: a request's list of {"type": "function", "function": {…}}. ParameterError naming the place.
absl::StatusOr<std::vector<Tool>> ReadTools(const Json& body);
// `tool_choice`: none, auto, required, or {"type": "function", "function": {"name": …}}.
absl::StatusOr<ToolChoice> ReadToolChoice(const Json& body, const std::vector<Tool>& tools);

// The system message that tells a model of its tools: GLM-4's own words for GLM-4, English for the others.
std::string DescribeTools(const std::vector<Tool>& tools, ChatFormat format);

std::string NewToolCallId();  // "call_…"

// Splits an answer, as it is being written, into text or one call. A first line that is the name of a tool makes it a
// call; until that is decided, nothing is shown. Not thread-safe.
class ToolCallSplitter {
 public:
  explicit ToolCallSplitter(const std::vector<Tool>& tools);

  struct Shown {
    std::string text;  // of the answer
    bool call_begins = false;
    std::string arguments;  // of the call
  };
  Shown Push(std::string_view piece);
  // What was held back, at the end of the answer.
  Shown Finish();

  bool is_call() const { return state_ == State::kCall; }
  const std::string& name() const { return name_; }  // of the call

 private:
  enum class State { kUndecided, kText, kCall };
  Shown ShowText();
  std::vector<std::string> names_;
  State state_ = State::kUndecided;
  std::string held_, name_;
};

}  // namespace fedglm
