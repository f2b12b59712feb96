#include "inference/api/tools.h"

#include <algorithm>

#include "base/digest.h"
#include "inference/api/answer_options.h"
#include "inference/api/api_error.h"
#include "inference/api/request_fields.h"

namespace fedglm {
namespace {

// OpenAI's rule. It also keeps a name from being anything but a name in a prompt or a grammar.
bool IsToolName(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), fits);
}

absl::StatusOr<Tool> ReadTool(const Json& item, const std::string& place) {
  const Json* const type = item.is_object() ? FindField(item, "type") : nullptr;
  if (type == nullptr || *type != "function") return MustBe(place + ".type", "function");
  const Json* const function = FindField(item, "function");
  if (function == nullptr || !function->is_object()) return MustBe(place + ".function", "an object");
  if (DumpJson(*function).size() > kMaxToolBytes) {
    return MustBe(place + ".function", "at most " + std::to_string(kMaxToolBytes) + " bytes long");
  }
  Tool tool;
  tool.definition = *function;
  const Json* const name = FindField(*function, "name");
  if (name != nullptr && name->is_string()) tool.name = name->get<std::string>();
  if (!IsToolName(tool.name)) return MustBe(place + ".function.name", "1 to 64 letters, digits, _ or -");
  const Json* const description = FindField(*function, "description");
  if (description != nullptr && !description->is_string()) return MustBe(place + ".function.description", "a string");
  const Json* const parameters = FindField(*function, "parameters");
  if (parameters != nullptr && !parameters->is_object()) return MustBe(place + ".function.parameters", "a JSON schema");
  FEDGLM_ASSIGN_OR_RETURN(tool.strict, ReadFlag(*function, "strict"));
  tool.parameters = parameters != nullptr ? *parameters : Json{{"type", "object"}, {"properties", Json::object()}};
  return tool;
}

bool Has(const std::vector<Tool>& tools, const std::string& name) {
  return std::any_of(tools.begin(), tools.end(), [&](const Tool& tool) { return tool.name == name; });
}

}  // namespace

absl::StatusOr<std::vector<Tool>> ReadTools(const Json& body) {
  std::vector<Tool> tools;
  const Json* const list = FindField(body, "tools");
  if (list == nullptr) return tools;
  if (!list->is_array() || list->size() > kMaxTools) {
    return MustBe("tools", "a list of at most " + std::to_string(kMaxTools) + " functions");
  }
  for (const Json& item : *list) {
    const std::string place = "tools[" + std::to_string(tools.size()) + "]";
    FEDGLM_ASSIGN_OR_RETURN(Tool tool, ReadTool(item, place));
    if (Has(tools, tool.name)) return ParameterError(place + ".function.name", "two tools have the name " + tool.name);
    tools.push_back(std::move(tool));
  }
  return tools;
}

absl::StatusOr<ToolChoice> ReadToolChoice(const Json& body, const std::vector<Tool>& tools) {
  ToolChoice choice;
  if (tools.empty()) choice.use = ToolUse::kNone;
  const Json* const value = FindField(body, "tool_choice");
  if (value == nullptr) return choice;
  if (*value == "none") return ToolChoice{ToolUse::kNone, ""};
  if (tools.empty()) return ParameterError("tool_choice", "'tool_choice' is only for a request with 'tools'");
  if (*value == "auto") return choice;
  choice.use = ToolUse::kRequired;
  if (*value == "required") return choice;
  const Json* const function = value->is_object() ? FindField(*value, "function") : nullptr;
  const Json* const name = function != nullptr && function->is_object() ? FindField(*function, "name") : nullptr;
  if (name == nullptr || !name->is_string()) {
    return MustBe("tool_choice", "none, auto, required or {\"type\": \"function\", \"function\": {\"name\": …}}");
  }
  choice.name = name->get<std::string>();
  if (!Has(tools, choice.name)) return MustBe("tool_choice.function.name", "the name of one of 'tools'");
  return choice;
}

std::string DescribeTools(const std::vector<Tool>& tools, ChatFormat format) {
  const bool glm4 = format == ChatFormat::kGlm4;
  std::string text = glm4 ? "# 可用工具\n" : "# Available tools\n";
  for (const Tool& tool : tools) {
    text += "\n## " + tool.name + "\n\n" + DumpJson(tool.definition, 4) + "\n";
    text += glm4 ? "在调用上述函数时，请使用 Json 格式表示调用的参数。"
                 : "To call this function, write its name, a new line, and its arguments as JSON, and nothing else.";
  }
  return text;
}

std::string NewToolCallId() { return "call_" + Base64UrlEncode(SecureRandomBytes(18)); }

ToolCallSplitter::ToolCallSplitter(const std::vector<Tool>& tools) {
  for (const Tool& tool : tools) names_.push_back(tool.name);
  if (names_.empty()) state_ = State::kText;
}

ToolCallSplitter::Shown ToolCallSplitter::ShowText() {
  state_ = State::kText;
  Shown shown;
  // The newline between <|assistant|> and an answer: with tools it is the model that writes it.
  shown.text = held_.substr(!held_.empty() && held_.front() == '\n' ? 1 : 0);
  held_.clear();
  return shown;
}

ToolCallSplitter::Shown ToolCallSplitter::Push(std::string_view piece) {
  if (piece.empty()) return {};
  if (state_ == State::kText) return {std::string(piece), false, ""};
  if (state_ == State::kCall) return {"", false, std::string(piece)};
  held_ += piece;
  const size_t line_end = held_.find('\n');
  const std::string line = held_.substr(0, line_end);
  const auto begins_with_line = [&](const std::string& name) { return name.compare(0, line.size(), line) == 0; };
  if (line_end == std::string::npos) {
    return std::any_of(names_.begin(), names_.end(), begins_with_line) ? Shown{} : ShowText();
  }
  if (std::find(names_.begin(), names_.end(), line) == names_.end()) return ShowText();
  state_ = State::kCall;
  name_ = line;
  Shown shown{"", true, held_.substr(line_end + 1)};
  held_.clear();
  return shown;
}

ToolCallSplitter::Shown ToolCallSplitter::Finish() { return state_ == State::kUndecided ? ShowText() : Shown{}; }

}  // namespace fedglm
