#include "inference/grammar/gbnf_text.h"

#include <cstdio>

#include "base/json.h"

namespace fedglm {
namespace {

std::string Escaped(CodePoint character) {
  const bool alphanumeric = (character >= '0' && character <= '9') || (character >= 'a' && character <= 'z') ||
                            (character >= 'A' && character <= 'Z');
  if (alphanumeric) return std::string(1, static_cast<char>(character));
  char escape[12];
  const char* const format = character <= 0xFF ? "\\x%02X" : character <= 0xFFFF ? "\\u%04X" : "\\U%08X";
  std::snprintf(escape, sizeof(escape), format, static_cast<unsigned>(character));
  return escape;
}

}  // namespace

std::string GbnfText(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      quoted += Escaped(byte);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string GbnfCharacters(const CharacterSet& set) {
  std::string text = "[";
  for (const CodePointRange& range : set) {
    text += Escaped(range.low);
    if (range.high > range.low) text += "-" + Escaped(range.high);
  }
  return text + "]";
}

std::string_view JsonRules() {
  return R"gbnf(
value ::= object | array | string | number | boolean | null
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)* ws)? "}"
array ::= "[" ws (value ("," ws value)* ws)? "]"
string ::= "\"" char* "\""
char ::= [^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" ([0-9a-cA-CefEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}))
number ::= integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?
integer ::= "-"? ("0" | [1-9] [0-9]{0,15})
boolean ::= "true" | "false"
null ::= "null"
ws ::= | " " | "\n" [ \t]{0,20}
)gbnf";
}

std::string JsonStringCharacter(const CharacterSet& set) {
  const CharacterSet needs_no_escape = Complement(Normalized({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}));
  std::string alternatives = GbnfCharacters(Intersection(set, needs_no_escape));
  for (CodePoint character = 0; character <= '\\'; ++character) {
    if (Contains(needs_no_escape, character) || !Contains(set, character)) continue;
    const std::string quoted = DumpJson(std::string(1, static_cast<char>(character)));
    alternatives += " | " + GbnfText(std::string_view(quoted).substr(1, quoted.size() - 2));
  }
  return "(" + alternatives + ")";
}

}  // namespace fedglm
