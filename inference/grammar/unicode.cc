#include "inference/grammar/unicode.h"

#include <algorithm>
#include <string>

namespace fedglm {
namespace {

constexpr CodePointRange kSurrogates = {0xD800, 0xDFFF};
constexpr CodePoint kLastOfLength[] = {0x7F, 0x7FF, 0xFFFF, kMaxCodePoint};

// A range whose ends have equally many bytes.
void AppendSequences(CodePointRange range, std::vector<std::vector<ByteRange>>& sequences) {
  // If the ends differ above their last i places, those places must run over all values: cut off what does not.
  for (int i = 1; i <= 3; ++i) {
    const CodePoint places = (CodePoint{1} << (6 * i)) - 1;
    if (range.high <= 0x7F || (range.low & ~places) == (range.high & ~places)) continue;
    if ((range.low & places) != 0) {
      AppendSequences({range.low, range.low | places}, sequences);
      return AppendSequences({(range.low | places) + 1, range.high}, sequences);
    }
    if ((range.high & places) != places) {
      AppendSequences({range.low, (range.high & ~places) - 1}, sequences);
      return AppendSequences({range.high & ~places, range.high}, sequences);
    }
  }
  std::string low, high;
  AppendUtf8(low, range.low);
  AppendUtf8(high, range.high);
  std::vector<ByteRange> sequence;
  for (size_t i = 0; i < low.size(); ++i) {
    sequence.push_back({static_cast<uint8_t>(low[i]), static_cast<uint8_t>(high[i])});
  }
  sequences.push_back(std::move(sequence));
}

}  // namespace

CharacterSet Normalized(std::vector<CodePointRange> ranges) {
  std::vector<CodePointRange> cut;
  for (const CodePointRange& range : ranges) {
    if (range.low < kSurrogates.low) cut.push_back({range.low, std::min(range.high, kSurrogates.low - 1)});
    if (range.high > kSurrogates.high) cut.push_back({std::max(range.low, kSurrogates.high + 1), range.high});
  }
  std::erase_if(cut, [](const CodePointRange& range) { return range.low > range.high; });
  std::sort(cut.begin(), cut.end(), [](const auto& a, const auto& b) { return a.low < b.low; });
  CharacterSet set;
  for (const CodePointRange& range : cut) {
    if (!set.empty() && range.low <= set.back().high + 1) {
      set.back().high = std::max(set.back().high, range.high);
    } else {
      set.push_back(range);
    }
  }
  return set;
}

CharacterSet Complement(const CharacterSet& set) {
  std::vector<CodePointRange> gaps;
  CodePoint next = 0;
  for (const CodePointRange& range : set) {
    if (range.low > next) gaps.push_back({next, range.low - 1});
    next = range.high + 1;
  }
  if (next <= kMaxCodePoint) gaps.push_back({next, kMaxCodePoint});
  return Normalized(std::move(gaps));
}

CharacterSet Intersection(const CharacterSet& a, const CharacterSet& b) {
  std::vector<CodePointRange> common;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const CodePointRange overlap = {std::max(a[i].low, b[j].low), std::min(a[i].high, b[j].high)};
    if (overlap.low <= overlap.high) common.push_back(overlap);
    a[i].high < b[j].high ? ++i : ++j;
  }
  return Normalized(std::move(common));
}

bool Contains(const CharacterSet& set, CodePoint character) {
  const auto after = std::upper_bound(set.begin(), set.end(), character,
                                      [](CodePoint value, const CodePointRange& range) { return value < range.low; });
  return after != set.begin() && character <= std::prev(after)->high;
}

std::vector<std::vector<ByteRange>> Utf8Sequences(CodePointRange range) {
  std::vector<std::vector<ByteRange>> sequences;
  CodePoint low = range.low;
  for (const CodePoint last : kLastOfLength) {
    if (low > range.high) break;
    if (low > last) continue;
    AppendSequences({low, std::min(range.high, last)}, sequences);
    low = last + 1;
  }
  return sequences;
}

}  // namespace fedglm
