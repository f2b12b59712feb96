// Characters as GBNF and regular expressions name them, and as bytes. Private to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fedglm {

using CodePoint = uint32_t;
inline constexpr CodePoint kMaxCodePoint = 0x10FFFF;

// Both ends belong to it.
struct CodePointRange {
  CodePoint low = 0;
  CodePoint high = 0;
  bool operator==(const CodePointRange&) const = default;
};

// A set of characters in its one form: sorted, disjoint, not touching, without surrogates (UTF-8 has none).
using CharacterSet = std::vector<CodePointRange>;
CharacterSet Normalized(std::vector<CodePointRange> ranges);
CharacterSet Complement(const CharacterSet& set);
CharacterSet Intersection(const CharacterSet& a, const CharacterSet& b);
bool Contains(const CharacterSet& set, CodePoint character);

// Takes one character from the front of `text`. False, and `text` as it was, if it is empty or not valid UTF-8.
bool TakeCharacter(std::string_view& text, CodePoint& character);
void AppendUtf8(std::string& text, CodePoint character);

// One byte for one place of a character.
struct ByteRange {
  uint8_t low = 0;
  uint8_t high = 0;
};

// The UTF-8 of all characters in a range, as sequences of byte ranges: what regular expression engines do
// (R. Cox, "Regular Expression Matching in the Wild", 2010).
std::vector<std::vector<ByteRange>> Utf8Sequences(CodePointRange range);

}  // namespace fedglm
