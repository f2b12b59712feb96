#include "inference/tokenizer/byte_encoding.h"

#include <array>
#include <map>

namespace fedglm {
namespace {

std::string Utf8(uint32_t point) {  // below U+0800 is all that is needed
  if (point < 0x80) return std::string(1, static_cast<char>(point));
  return {static_cast<char>(0xC0 | (point >> 6)), static_cast<char>(0x80 | (point & 0x3F))};
}

// Printable Latin-1 stands for itself; the other bytes follow from U+0100 on.
std::array<std::string, 256> MakeTable() {
  std::array<std::string, 256> table;
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    table[byte] = Utf8(printable ? byte : next++);
  }
  return table;
}

const std::array<std::string, 256>& Table() {
  static const std::array<std::string, 256> table = MakeTable();
  return table;
}

}  // namespace

const std::string& ByteCharacter(unsigned char byte) { return Table()[byte]; }

std::string ToByteCharacters(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) text += ByteCharacter(static_cast<unsigned char>(byte));
  return text;
}

std::optional<std::string> FromByteCharacters(std::string_view text) {
  static const std::map<std::string, char, std::less<>> bytes = [] {
    std::map<std::string, char, std::less<>> inverse;
    for (int byte = 0; byte < 256; ++byte) inverse[Table()[static_cast<size_t>(byte)]] = static_cast<char>(byte);
    return inverse;
  }();
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const size_t length = static_cast<unsigned char>(text[i]) < 0x80 ? 1 : 2;
    const auto found = bytes.find(text.substr(i, length));
    if (found == bytes.end()) return std::nullopt;
    result += found->second;
    i += length;
  }
  return result;
}

}  // namespace fedglm
