#include "inference/api/upstream_tokens.h"

#include <algorithm>
#include <utility>

#include "base/json.h"

namespace fedglm {
namespace {

// Of a line, so much is looked at, and so much memory is spent on it.
constexpr size_t kMostLineBytes = 1 << 20, kMostJsonBytes = 16 << 20;

std::optional<int64_t> UsageOf(const Json& answer) {
  if (!answer.is_object() || !answer.contains("usage") || !answer["usage"].is_object()) return std::nullopt;
  const absl::StatusOr<int64_t> tokens = OptionalInteger(answer["usage"], "completion_tokens", 0);
  return tokens.ok() ? std::optional(std::max<int64_t>(0, *tokens)) : std::nullopt;
}

bool IsText(const Json& object, const char* name) { return !OptionalString(object, name, "").value_or("").empty(); }

// Whether a choice has anything but its beginning (the role) or its end (finish_reason).
bool HasPartOfAnswer(const Json& event) {
  if (!event.is_object() || !event.contains("choices") || !event["choices"].is_array()) return false;
  return std::ranges::any_of(event["choices"], [](const Json& choice) {
    if (!choice.is_object()) return false;
    if (IsText(choice, "text")) return true;
    if (!choice.contains("delta") || !choice["delta"].is_object()) return false;
    const Json& delta = choice["delta"];
    return IsText(delta, "content") || IsText(delta, "reasoning_content") || IsText(delta, "refusal") ||
           delta.contains("tool_calls");
  });
}

}  // namespace

int64_t TokensOfAnswer(std::string_view json) {
  const absl::StatusOr<Json> answer = ParseJson(json, "upstream");
  return answer.ok() ? UsageOf(*answer).value_or(0) : 0;
}

void StreamTokens::Add(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    line_.append(part.substr(0, kMostLineBytes - std::min(kMostLineBytes, line_.size())));
    if (end == std::string_view::npos) return;
    EndLine();
    bytes.remove_prefix(end + 1);
  }
}

void StreamTokens::EndLine() {
  constexpr std::string_view kData = "data:";
  const std::string line = std::exchange(line_, {});
  if (!line.starts_with(kData)) return;
  const absl::StatusOr<Json> event = ParseJson(std::string_view(line).substr(kData.size()), "upstream", kMostJsonBytes);
  if (!event.ok()) return;  // [DONE]
  if (const std::optional<int64_t> usage = UsageOf(*event)) usage_ = usage;
  if (HasPartOfAnswer(*event)) ++events_;
}

}  // namespace fedglm
