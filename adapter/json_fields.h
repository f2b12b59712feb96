// The fields of a struct as the members of one JSON object: writing and reading walk the same list of keys. Used inside
// adapter/ only. Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/training_plan.h"
#include "base/json.h"
#include "base/status.h"

namespace fedglm {

class JsonFieldWriter {
 public:
  Json json = Json::object();

  template <typename T>
  void operator()(const char* key, const T& value) {
    json[key] = value;
  }
  void operator()(const char* key, const std::filesystem::path& value) { json[key] = value.string(); }
  void operator()(const char* key, const std::vector<std::filesystem::path>& values) {
    json[key] = Json::array();
    for (const auto& value : values) json[key].push_back(value.string());
  }
  template <typename T>
  void operator()(const PlanField<T>& field, const T& value) {
    json[field.key] = value;
  }
};

// Leaves a member alone whose key is not there.
class JsonFieldReader {
 public:
  // UsageError if `text` is no JSON object. `what` begins all messages.
  static absl::StatusOr<JsonFieldReader> Parse(std::string_view text, std::string what);

  template <typename T>
  void operator()(const char* key, T& value) {
    const Json* const member = Find(key);
    if (member != nullptr && !Take(*member, value)) Refuse(key, "");
  }
  template <typename T>
  void operator()(const PlanField<T>& field, T& value) {
    const Json* const member = Find(field.key);
    if (member == nullptr) return;
    if (!Take(*member, value) || !field.allowed.Holds(value)) {
      Refuse(field.key, ": it must be " + Describe(field.allowed));
    }
  }

  // UsageError that names the first bad value, or a key that nobody asked for.
  absl::Status Finish() const;

 private:
  JsonFieldReader(Json json, std::string what) : json_(std::move(json)), what_(std::move(what)) {}
  const Json* Find(const char* key);  // nullptr as well once a value was refused
  void Refuse(const char* key, const std::string& why);

  static bool Take(const Json& json, std::string& value);
  static bool Take(const Json& json, std::filesystem::path& value);
  static bool Take(const Json& json, bool& value);
  static bool Take(const Json& json, int& value);      // 0 to 4096
  static bool Take(const Json& json, int64_t& value);  // 0 to 2^40, exclusive
  static bool Take(const Json& json, uint64_t& value);
  static bool Take(const Json& json, double& value);  // finite
  template <typename T>
  static bool Take(const Json& json, std::vector<T>& values) {
    if (!json.is_array()) return false;
    values.clear();
    for (const Json& element : json) {
      if (!element.is_string()) return false;
      values.emplace_back(element.get<std::string>());
    }
    return true;
  }

  Json json_;
  std::string what_;
  std::set<std::string, std::less<>> asked_;
  absl::Status status_;
};

}  // namespace fedglm
