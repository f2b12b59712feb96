#include "inference/grammar/schema/schema_merge.h"
#include "base/json.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

namespace fedglm {
namespace {

constexpr size_t kMaxAlternatives = 256;
constexpr size_t kMaxMembers = 4096;  // of an object or list: some things below take the square of it

bool IsOneOf(std::string_view keyword, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), keyword) != list.end();
}

Json Both(const Json& a, const Json& b) {
  if (a == b) return a;
  return Json{{"allOf", Json::array({a, b})}};
}

Json AsList(const Json& value) { return value.is_array() ? value : Json::array({value}); }

bool Has(const Json& list, const Json& value) { return std::find(list.begin(), list.end(), value) != list.end(); }

Json CommonTypes(const Json& a, const Json& b) {
  Json common = Json::array();
  const Json first = AsList(a), second = AsList(b);
  for (const Json& type : first) {
    if (Has(second, type) || (type == "integer" && Has(second, "number"))) common.push_back(type);
    if (type == "number" && Has(second, "integer") && !Has(first, "integer")) common.push_back("integer");
  }
  return common;
}

// What `schema` says of a property that it does not name; null if nothing.
Json OfOtherProperties(const Json& schema) {
  const auto found = schema.find("additionalProperties");
  return found == schema.end() ? Json() : *found;
}

Json MergeProperties(const Json& a, const Json& b) {
  const Json empty = Json::object();
  const auto properties = [&](const Json& schema) -> const Json& {
    const auto found = schema.find("properties");
    return found == schema.end() ? empty : *found;
  };
  const Json& first = properties(a);
  const Json& second = properties(b);
  Json merged = Json::object();
  const auto add = [&](const std::string& name, const Json& value, const Json& others, const Json& other_schema) {
    const auto other = others.find(name);
    Json also = other != others.end() ? *other : OfOtherProperties(other_schema);
    merged[name] = also.is_null() ? value : Both(value, also);
  };
  for (const auto& [name, value] : first.items()) add(name, value, second, b);
  for (const auto& [name, value] : second.items()) {
    if (!first.contains(name)) add(name, value, first, a);
  }
  return merged;
}

absl::StatusOr<Json> MergeKeyword(const std::string& keyword, const Json& a, const Json& b) {
  if (a == b) return a;
  if (keyword == "type") return CommonTypes(a, b);
  if (IsOneOf(keyword, {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}))
    return std::max(a, b);
  if (IsOneOf(keyword, {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}))
    return std::min(a, b);
  if (IsOneOf(keyword, {"additionalProperties", "items", "additionalItems"}) && !a.is_array() && !b.is_array()) {
    return Both(a, b);
  }
  if (keyword == "required" || keyword == "enum") {
    Json list = Json::array();
    for (const Json& value : a) {
      if (keyword == "required" || Has(b, value)) list.push_back(value);
    }
    for (const Json& value : b) {
      if (keyword == "required" && !Has(list, value)) list.push_back(value);
    }
    return list;
  }
  if (keyword == "prefixItems" && a.size() == b.size()) {
    Json list = Json::array();
    for (size_t i = 0; i < a.size(); ++i) list.push_back(Both(a[i], b[i]));
    return list;
  }
  if (keyword == "anyOf" || keyword == "oneOf") {
    if (a.size() * b.size() > kMaxAlternatives) return UsageError("too many alternatives meet in allOf");
    Json list = Json::array();
    for (const Json& one : a) {
      for (const Json& other : b) list.push_back(Both(one, other));
    }
    return list;
  }
  if (keyword == "allOf") {
    Json list = a;
    list.insert(list.end(), b.begin(), b.end());
    return list;
  }
  if (keyword == "nullable") return Json(a == true && b == true);
  if (keyword == "uniqueItems") return Json(true);  // they differ: one of them is true
  return UsageError("'" + keyword + "' is there twice, with two values, which is not supported");
}

}  // namespace

bool IsAnnotation(std::string_view keyword) {
  return IsOneOf(keyword,
                 {"title",      "description",  "default",   "example",       "examples",        "$comment",
                  "$id",        "$schema",      "id",        "$anchor",       "$defs",           "definitions",
                  "deprecated", "readOnly",     "writeOnly", "discriminator", "contentEncoding", "contentMediaType",
                  "xml",        "externalDocs", "strict"});
}

absl::Status CheckKeywords(const Json& schema) {
  if (schema.is_boolean()) return absl::OkStatus();
  if (!schema.is_object()) return UsageError("a schema must be an object, true or false");
  for (const auto& [keyword, value] : schema.items()) {
    const auto wrong = [&name = keyword](std::string_view wanted) {
      return UsageError("'" + name + "' must be " + std::string(wanted));
    };
    if (IsAnnotation(keyword)) continue;
    if (value.size() > kMaxMembers) {
      return UsageError("'" + keyword + "' has more than " + std::to_string(kMaxMembers) + " members");
    }
    if (IsOneOf(keyword, {"$ref", "pattern", "format"}) && !value.is_string()) return wrong("a string");
    if (IsOneOf(keyword, {"properties", "patternProperties"}) && !value.is_object()) return wrong("an object");
    if (IsOneOf(keyword, {"uniqueItems", "nullable"}) && !value.is_boolean()) return wrong("true or false");
    if (IsOneOf(keyword, {"enum", "required", "prefixItems"}) && !value.is_array()) return wrong("a list");
    if (IsOneOf(keyword, {"anyOf", "oneOf", "allOf"}) && (!value.is_array() || value.empty())) {
      return wrong("a list that is not empty");
    }
    if (IsOneOf(keyword, {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}) &&
        (!value.is_number() || value < 0 || value.get<double>() != std::floor(value.get<double>()))) {
      return wrong("an integer of at least 0");
    }
    if (IsOneOf(keyword, {"minimum", "maximum", "multipleOf"}) && !value.is_number()) return wrong("a number");
    if (IsOneOf(keyword, {"exclusiveMinimum", "exclusiveMaximum"}) && !value.is_number()) {
      return wrong("a number (it was true or false in draft 4, which is not supported)");
    }
    const auto is_string = [](const Json& item) { return item.is_string(); };
    if (keyword == "required" && !std::all_of(value.begin(), value.end(), is_string)) return wrong("a list of strings");
    if (keyword == "type" && !value.is_string() &&
        (!value.is_array() || !std::all_of(value.begin(), value.end(), is_string))) {
      return wrong("a string or a list of strings");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Json> MergeSchemas(const Json& a, const Json& b) {
  FEDGLM_RETURN_IF_ERROR(CheckKeywords(a));
  FEDGLM_RETURN_IF_ERROR(CheckKeywords(b));
  if (a == false || b == false) return Json(false);
  if (a == true) return b;
  if (b == true) return a;
  Json merged = a;
  for (const auto& [keyword, value] : b.items()) {
    if (keyword == "properties" || IsAnnotation(keyword)) continue;
    const auto found = a.find(keyword);
    if (found == a.end()) {
      merged[keyword] = value;
      continue;
    }
    if (keyword == "const" && *found != value) return Json(false);
    FEDGLM_ASSIGN_OR_RETURN(merged[keyword], MergeKeyword(keyword, *found, value));
  }
  if (a.contains("properties") || b.contains("properties")) merged["properties"] = MergeProperties(a, b);
  return merged;
}

}  // namespace fedglm
