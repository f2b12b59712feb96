// Characters of UTF-8 (RFC 3629) at the beginning of a text; texts of others, made fit to be shown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fedglm {

using CodePoint = uint32_t;
inline constexpr CodePoint kMaxCodePoint = 0x10FFFF;

inline bool IsUtf8Continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// How many bytes the character at the beginning of `text` has; 0 if it is not valid (overlong, a surrogate, cut off…).
size_t Utf8CharacterSize(std::string_view text);

// How many bytes at the beginning of `text` are whole valid characters.
size_t ValidUtf8Prefix(std::string_view text);

// Takes one character from the front of `text`. False, and `text` as it was, if it is empty or not valid UTF-8.
bool TakeUtf8(std::string_view& text, CodePoint& character);

// `character`: up to kMaxCodePoint, and no surrogate.
void AppendUtf8(std::string& text, CodePoint character);

// What a file or a peer says, as one line that no terminal obeys: control characters become spaces, bytes that are no
// UTF-8 '?'. After `most` bytes, or a little fewer, "..." stands for the rest.
std::string OneLine(std::string_view text, size_t most = std::string_view::npos);

}  // namespace fedglm
