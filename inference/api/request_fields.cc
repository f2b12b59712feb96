#include "inference/api/request_fields.h"

#include "base/json.h"
#include "inference/api/api_error.h"

namespace fedglm {

const Json* FindField(const Json& object, const char* field) {
  const auto found = object.find(field);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<double> ReadNumber(const Json& object, const char* field, double fallback, double low, double high) {
  const Json* const value = FindField(object, field);
  if (value == nullptr) return fallback;
  if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high)) {
    return MustBe(field, "a number from " + DumpJson(low) + " to " + DumpJson(high));
  }
  return value->get<double>();
}

absl::StatusOr<int64_t> ReadCount(const Json& object, const char* field, int64_t fallback, int64_t low, int64_t high) {
  const Json* const value = FindField(object, field);
  if (value == nullptr) return fallback;
  const bool too_large = value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  if (!value->is_number_integer() || too_large || value->get<int64_t>() < low || value->get<int64_t>() > high) {
    return MustBe(field, "an integer from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return value->get<int64_t>();
}

absl::StatusOr<bool> ReadFlag(const Json& object, const char* field, bool fallback) {
  const Json* const value = FindField(object, field);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return MustBe(field, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> ReadText(const Json& object, const char* field, size_t max_bytes) {
  const Json* const value = FindField(object, field);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return MustBe(field, "a string");
  if (value->get_ref<const std::string&>().size() > max_bytes) {
    return MustBe(field, "at most " + std::to_string(max_bytes) + " bytes long");
  }
  return value->get<std::string>();
}

absl::StatusOr<std::vector<std::string>> ReadTexts(const Json& object, const char* field, size_t max_count,
                                                   size_t max_bytes) {
  const Json* const value = FindField(object, field);
  if (value == nullptr) return std::vector<std::string>();
  const Json list = value->is_string() ? Json::array({*value}) : *value;
  const std::string expected = "a string or a list of at most " + std::to_string(max_count) + " strings of 1 to " +
                               std::to_string(max_bytes) + " bytes";
  if (!list.is_array() || list.size() > max_count) return MustBe(field, expected);
  std::vector<std::string> texts;
  for (const Json& item : list) {
    if (!item.is_string()) return MustBe(field, expected);
    texts.push_back(item.get<std::string>());
    if (texts.back().empty() || texts.back().size() > max_bytes) return MustBe(field, expected);
  }
  return texts;
}

}  // namespace fedglm
