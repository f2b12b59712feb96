// Whether a JSON value is valid under a JSON Schema: written from the standard, apart from what it tests.
#pragma once

#include <cmath>
#include <regex>
#include <set>
#include <string>

#include "base/json.h"

namespace fedglm {

class SchemaValidator {
 public:
  explicit SchemaValidator(const Json& root) : root_(root) {}

  bool IsValid(const Json& value) const { return Check(root_, value); }

 private:
  static int64_t Characters(const std::string& text) {
    int64_t count = 0;
    for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
    return count;
  }

  // Valid UTF-8, which JSON is, as one wide character a character.
  static std::wstring Wide(const std::string& text) {
    std::wstring wide;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if ((byte & 0xC0) == 0x80) {
        wide.back() = static_cast<wchar_t>((wide.back() << 6) | (byte & 0x3F));
      } else {
        wide += static_cast<wchar_t>(byte < 0x80   ? byte
                                     : byte < 0xE0 ? byte & 0x1F
                                     : byte < 0xF0 ? byte & 0x0F
                                                   : byte & 0x07);
      }
    }
    return wide;
  }

  static bool HasType(const std::string& type, const Json& value) {
    if (type == "null") return value.is_null();
    if (type == "boolean") return value.is_boolean();
    if (type == "string") return value.is_string();
    if (type == "array") return value.is_array();
    if (type == "object") return value.is_object();
    if (type == "number") return value.is_number();
    return value.is_number_integer() || (value.is_number_float() && value == std::floor(value.get<double>()));
  }

  static bool HasFormat(const std::string& format, const std::string& text) {
    const std::string date = R"(\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01]))";
    const std::string time = R"(([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d))";
    if (format == "date" || format == "date-time") {
      if (!std::regex_match(text, std::regex(format == "date" ? date : date + "T" + time))) return false;
      const int year = std::stoi(text.substr(0, 4)), month = std::stoi(text.substr(5, 2)),
                day = std::stoi(text.substr(8, 2));
      const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
      const int days[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
      return day <= days[month - 1];
    }
    if (format == "time") return std::regex_match(text, std::regex(time));
    return std::regex_match(text, std::regex("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"));
  }

  bool Check(const Json& schema, const Json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    if (value.is_null() && schema.value("nullable", false)) return true;
    for (const auto& [keyword, argument] : schema.items()) {
      if (!CheckKeyword(schema, keyword, argument, value)) return false;
    }
    return true;
  }

  bool CheckKeyword(const Json& schema, const std::string& keyword, const Json& argument, const Json& value) const {
    if (keyword == "$ref") return Check(root_.at(Json::json_pointer(argument.get<std::string>().substr(1))), value);
    if (keyword == "allOf") {
      for (const Json& part : argument) {
        if (!Check(part, value)) return false;
      }
    }
    if (keyword == "anyOf" || keyword == "oneOf") {
      int valid = 0;
      for (const Json& part : argument) valid += Check(part, value) ? 1 : 0;
      return keyword == "anyOf" ? valid > 0 : valid == 1;
    }
    if (keyword == "type") {
      if (argument.is_string()) return HasType(argument, value);
      for (const Json& type : argument) {
        if (HasType(type, value)) return true;
      }
      return false;
    }
    if (keyword == "enum") {
      for (const Json& one : argument) {
        if (one == value) return true;
      }
      return false;
    }
    if (keyword == "const") return argument == value;
    if (value.is_number()) {
      const double number = value.get<double>();
      const bool integers = value.is_number_integer() && argument.is_number_integer();
      if (keyword == "minimum") return integers ? value >= argument : number >= argument.get<double>();
      if (keyword == "maximum") return integers ? value <= argument : number <= argument.get<double>();
      if (keyword == "exclusiveMinimum") return integers ? value > argument : number > argument.get<double>();
      if (keyword == "exclusiveMaximum") return integers ? value < argument : number < argument.get<double>();
    }
    if (value.is_string()) {
      const std::string text = value;
      if (keyword == "minLength") return Characters(text) >= argument.get<int64_t>();
      if (keyword == "maxLength") return Characters(text) <= argument.get<int64_t>();
      // Characters, not bytes, are what a pattern counts.
      if (keyword == "pattern") return std::regex_search(Wide(text), std::wregex(Wide(argument.get<std::string>())));
      if (keyword == "format") return HasFormat(argument, text);
    }
    if (value.is_array()) {
      if (keyword == "minItems") return value.size() >= argument.get<size_t>();
      if (keyword == "maxItems") return value.size() <= argument.get<size_t>();
      const size_t prefix = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
      for (size_t i = 0; i < value.size(); ++i) {
        if (keyword == "prefixItems" && i < prefix && !Check(argument[i], value[i])) return false;
        if (keyword == "items" && i >= prefix && !Check(argument, value[i])) return false;
      }
    }
    if (value.is_object()) {
      if (keyword == "required") {
        for (const Json& name : argument) {
          if (!value.contains(name.get<std::string>())) return false;
        }
      }
      for (const auto& [name, member] : value.items()) {
        const bool declared = schema.contains("properties") && schema["properties"].contains(name);
        if (keyword == "properties" && declared && !Check(argument[name], member)) return false;
        if (keyword == "additionalProperties" && !declared && !Check(argument, member)) return false;
      }
    }
    return true;
  }

  const Json& root_;
};

}  // namespace fedglm
