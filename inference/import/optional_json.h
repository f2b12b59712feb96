// Members of a checkpoint's JSON files, where null and absent mean the same. Private to this folder.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/status.h"

namespace fedglm {

// nullptr if `object` is no object, has no such member, or it is null.
inline const Json* MemberOf(const Json& object, const std::string& key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

// The first of the objects that has the member.
inline const Json* MemberOfAny(std::initializer_list<const Json*> objects, const std::string& key) {
  for (const Json* object : objects) {
    if (object == nullptr) continue;
    if (const Json* member = MemberOf(*object, key)) return member;
  }
  return nullptr;
}

// "" unless it is a string.
inline std::string TextOf(const Json* value) {
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

inline bool IsTrue(const Json* value) { return value != nullptr && value->is_boolean() && value->get<bool>(); }

// A JSON file of the checkpoint; null if it is optional and not there.
inline absl::StatusOr<Json> ReadJsonFile(const std::filesystem::path& path, bool required) {
  constexpr uint64_t kMaxBytes = 64 << 20;  // a tokenizer.json of 150,000 tokens has 20 MB
  std::error_code error;
  if (!required && !std::filesystem::exists(path, error)) return Json();
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  return ParseJson(text, path.string());
}

}  // namespace fedglm
