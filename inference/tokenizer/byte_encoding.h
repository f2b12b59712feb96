// GPT-2's way of writing any bytes as printable text: each byte is one Unicode character.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fedglm {

// Every byte of `bytes` as its character, in UTF-8. Space becomes Ġ, newline Ċ.
std::string ToByteCharacters(std::string_view bytes);
const std::string& ByteCharacter(unsigned char byte);

// Back again. nullopt if `text` has a character that stands for no byte.
std::optional<std::string> FromByteCharacters(std::string_view text);

}  // namespace fedglm
