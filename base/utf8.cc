#include "base/utf8.h"

#include <algorithm>

namespace fedglm {

size_t Utf8CharacterSize(std::string_view text) {
  if (text.empty()) return 0;
  const unsigned char lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return 1;
  const size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if (!IsUtf8Continuation(text[i])) return 0;
  }
  const unsigned char second = static_cast<unsigned char>(text[1]);
  if (lead == 0xE0 && second < 0xA0) return 0;   // overlong
  if (lead == 0xED && second >= 0xA0) return 0;  // a surrogate
  if (lead == 0xF0 && second < 0x90) return 0;   // overlong
  if (lead == 0xF4 && second >= 0x90) return 0;  // above U+10FFFF
  return size;
}

size_t ValidUtf8Prefix(std::string_view text) {
  size_t valid = 0;
  while (valid < text.size()) {
    const size_t size = Utf8CharacterSize(text.substr(valid));
    if (size == 0) break;
    valid += size;
  }
  return valid;
}

bool TakeUtf8(std::string_view& text, CodePoint& character) {
  const size_t size = Utf8CharacterSize(text);
  if (size == 0) return false;
  const auto first = static_cast<unsigned char>(text[0]);
  character = size == 1 ? first : first & (0xFFu >> (size + 1));
  for (size_t i = 1; i < size; ++i) character = character << 6 | (static_cast<unsigned char>(text[i]) & 0x3Fu);
  text.remove_prefix(size);
  return true;
}

void AppendUtf8(std::string& text, CodePoint character) {
  if (character <= 0x7F) {
    text += static_cast<char>(character);
    return;
  }
  const int following = character <= 0x7FF ? 1 : character <= 0xFFFF ? 2 : 3;
  const unsigned mark = 0xFFu << (7 - following) & 0xFFu;  // 110….., 1110…., 11110…
  text += static_cast<char>(mark | character >> (6 * following));
  for (int i = following - 1; i >= 0; --i) text += static_cast<char>(0x80u | (character >> (6 * i) & 0x3Fu));
}

std::string OneLine(std::string_view text, size_t most) {
  std::string line;
  while (!text.empty()) {
    const size_t size = std::max<size_t>(1, Utf8CharacterSize(text));
    if (line.size() + size > most) return line + "...";
    CodePoint character = 0;
    if (!TakeUtf8(text, character)) {
      line += '?';
      text.remove_prefix(1);
    } else if (character < 0x20 || (character >= 0x7F && character < 0xA0)) {
      line += ' ';
    } else {
      AppendUtf8(line, character);
    }
  }
  return line;
}

}  // namespace fedglm
