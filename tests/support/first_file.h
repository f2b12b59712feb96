// A configuration file that `init` writes, with the keys that only stand in comments.
#pragma once

#include <regex>
#include <string>
#include <string_view>

namespace fedglm {

// "# key = value" becomes "key = value".
inline std::string WithEveryKey(std::string_view toml) {
  return std::regex_replace(std::string(toml), std::regex("\n# ([a-z0-9_]+ = )"), "\n$1");
}

}  // namespace fedglm
