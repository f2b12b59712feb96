// Sets of characters, as GBNF and regular expressions name them, and as bytes. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "base/utf8.h"

namespace fedglm {

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

// One byte for one place of a character.
struct ByteRange {
  uint8_t low = 0;
  uint8_t high = 0;
};

// The UTF-8 of all characters in a range, as sequences of byte ranges: what regular expression engines do
// (R. Cox, "Regular Expression Matching in the Wild", 2010).
std::vector<std::vector<ByteRange>> Utf8Sequences(CodePointRange range);

}  // namespace fedglm
