// Regular expressions of JSON Schema's "pattern" as grammars. Private to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fedglm {

struct PatternGrammar {
  std::string content;  // GBNF, over the rules of JsonRules: what stands between the quotes of a JSON string
  // Of the strings, in characters.
  int64_t shortest = 0;
  int64_t longest = 0;  // kAnyLength if there is no bound
};
inline constexpr int64_t kAnyLength = INT64_MAX;

// ECMA-262's syntax, the regular part of it: alternatives, groups, * + ? {m,n}, classes, \d \w \s and their like, ^ at
// the beginning and $ at the end of a whole alternative. UsageError for look-around, back references, \b, \p and bad
// syntax.
absl::StatusOr<PatternGrammar> PatternToGrammar(std::string_view pattern);

}  // namespace fedglm
