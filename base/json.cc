#include "base/json.h"

namespace fedglm {
namespace {

constexpr int kMaxDepth = 128;

absl::StatusOr<const Json*> Member(const Json& object, std::string_view key) {
  if (!object.is_object()) return BadFileError("expected a JSON object");
  const auto found = object.find(std::string(key));
  return found == object.end() ? nullptr : &*found;
}

absl::Status WrongType(std::string_view key, std::string_view wanted) {
  return BadFileError("\"" + std::string(key) + "\" must be " + std::string(wanted));
}

absl::Status Missing(std::string_view key) { return BadFileError("\"" + std::string(key) + "\" is missing"); }

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text, std::string_view what) {
  // The nesting is bounded before the parser recurses into building and destroying a deep value.
  int depth = 0;
  bool in_string = false, escaped = false;
  for (const char c : text) {
    if (in_string) {
      if (escaped) escaped = false;
      else if (c == '\\') escaped = true;
      else if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return BadFileError(std::string(what) + ": JSON is nested too deeply");
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    std::string reason = error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 2: …"
    if (const size_t end = reason.find("] "); end != std::string::npos) reason = reason.substr(end + 2);
    if (const size_t last_read = reason.find("; last read"); last_read != std::string::npos) reason.resize(last_read);
    return BadFileError(std::string(what) + ": " + reason);
  }
}

std::string DumpJson(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<std::string> RequireString(const Json& object, std::string_view key) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr) return Missing(key);
  if (!member->is_string()) return WrongType(key, "a string");
  return member->get<std::string>();
}

absl::StatusOr<int64_t> RequireInteger(const Json& object, std::string_view key) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr) return Missing(key);
  if (!member->is_number_integer()) return WrongType(key, "an integer");
  if (member->is_number_unsigned() && member->get<uint64_t>() > uint64_t{INT64_MAX}) return WrongType(key, "below 2^63");
  return member->get<int64_t>();
}

absl::StatusOr<double> RequireNumber(const Json& object, std::string_view key) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr) return Missing(key);
  if (!member->is_number()) return WrongType(key, "a number");
  return member->get<double>();
}

absl::StatusOr<std::string> OptionalString(const Json& object, std::string_view key, std::string fallback) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr || member->is_null()) return fallback;
  return RequireString(object, key);
}

absl::StatusOr<int64_t> OptionalInteger(const Json& object, std::string_view key, int64_t fallback) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr || member->is_null()) return fallback;
  return RequireInteger(object, key);
}

absl::StatusOr<double> OptionalNumber(const Json& object, std::string_view key, double fallback) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr || member->is_null()) return fallback;
  return RequireNumber(object, key);
}

absl::StatusOr<bool> OptionalBool(const Json& object, std::string_view key, bool fallback) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr || member->is_null()) return fallback;
  if (!member->is_boolean()) return WrongType(key, "true or false");
  return member->get<bool>();
}

}  // namespace fedglm
