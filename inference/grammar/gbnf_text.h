// Writing GBNF. Private to this folder and schema/.
#pragma once

#include <string>
#include <string_view>

#include "inference/grammar/unicode.h"

namespace fedglm {

// "text" in quotes. `text` is UTF-8.
std::string GbnfText(std::string_view text);
// [a-z\u00E9]; of an empty set [], which nothing matches.
std::string GbnfCharacters(const CharacterSet& set);

// The rules of JSON's own syntax that schemas build upon, each with its name: ws, string, char, integer, number, value,
// object, array… White space is bounded, and so are the digits of numbers: each can be read as a double.
std::string_view JsonRules();

// One character of a JSON string that stands for a character of `set`: raw, or escaped where JSON must.
std::string JsonStringCharacter(const CharacterSet& set);

}  // namespace fedglm
