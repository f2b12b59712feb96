// What the tokenizers need to know of UTF-8. Private to this folder.
#pragma once

#include <cstddef>
#include <string_view>

namespace fedglm {

inline bool IsUtf8Continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// How many bytes the character at the beginning of `text` has; 0 if it is not valid (overlong, a surrogate, cut off…).
size_t Utf8CharacterSize(std::string_view text);

// How many bytes at the beginning of `text` are whole valid characters.
size_t ValidUtf8Prefix(std::string_view text);

}  // namespace fedglm
