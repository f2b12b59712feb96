#include "adapter/json_fields.h"

#include <cmath>

namespace fedglm {

absl::StatusOr<JsonFieldReader> JsonFieldReader::Parse(std::string_view text, std::string what) {
  absl::StatusOr<Json> json = ParseJson(text, what);
  if (!json.ok()) return UsageError(Message(json.status()));
  if (!json->is_object()) return UsageError(what + ": a JSON object is expected");
  return JsonFieldReader(*std::move(json), std::move(what));
}

absl::Status JsonFieldReader::Finish() const {
  FEDGLM_RETURN_IF_ERROR(status_);
  for (const auto& [key, value] : json_.items()) {
    if (asked_.count(key) == 0) return UsageError(what_ + ": unknown key \"" + key + "\"");
  }
  return absl::OkStatus();
}

const Json* JsonFieldReader::Find(const char* key) {
  asked_.insert(key);
  const auto member = json_.find(key);
  return member == json_.end() || !status_.ok() ? nullptr : &*member;
}

void JsonFieldReader::Refuse(const char* key, const std::string& why) {
  status_ = UsageError(what_ + ": \"" + key + "\" has a bad value" + why);
}

bool JsonFieldReader::Take(const Json& json, std::string& value) {
  if (!json.is_string()) return false;
  value = json.get<std::string>();
  return true;
}

bool JsonFieldReader::Take(const Json& json, std::filesystem::path& value) {
  if (!json.is_string()) return false;
  value = json.get<std::string>();
  return true;
}

bool JsonFieldReader::Take(const Json& json, bool& value) {
  if (!json.is_boolean()) return false;
  value = json.get<bool>();
  return true;
}

bool JsonFieldReader::Take(const Json& json, int& value) {
  if (!json.is_number_integer() || json.get<int64_t>() < 0 || json.get<int64_t>() > 4096) return false;
  value = json.get<int>();
  return true;
}

bool JsonFieldReader::Take(const Json& json, int64_t& value) {
  if (!json.is_number_integer()) return false;
  value = json.get<int64_t>();
  return value >= 0 && value < (int64_t{1} << 40);
}

bool JsonFieldReader::Take(const Json& json, uint64_t& value) {
  if (!json.is_number_unsigned()) return false;
  value = json.get<uint64_t>();
  return true;
}

bool JsonFieldReader::Take(const Json& json, double& value) {
  if (!json.is_number()) return false;
  value = json.get<double>();
  return std::isfinite(value);
}

}  // namespace fedglm
