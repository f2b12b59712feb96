#include "inference/tokenizer/byte_encoding.h"

#include <array>

#include "base/utf8.h"

namespace fedglm {
namespace {

// Above all code points that stand for a byte: 256 and the 68 bytes that are not printable.
constexpr uint32_t kEnd = 256 + 68;

struct Table {
  std::array<std::string, 256> characters;
  std::array<int, kEnd> bytes;  // by code point; -1 for those that stand for none
};

std::string Utf8(uint32_t point) {  // below U+0800 is all that is needed
  if (point < 0x80) return std::string(1, static_cast<char>(point));
  return {static_cast<char>(0xC0 | (point >> 6)), static_cast<char>(0x80 | (point & 0x3F))};
}

// Printable Latin-1 stands for itself; the other bytes follow from U+0100 on.
Table MakeTable() {
  Table table;
  table.bytes.fill(-1);
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const uint32_t point = printable ? byte : next++;
    table.characters[byte] = Utf8(point);
    table.bytes[point] = static_cast<int>(byte);
  }
  return table;
}

const Table& GetTable() {
  static const Table table = MakeTable();
  return table;
}

}  // namespace

const std::string& ByteCharacter(unsigned char byte) { return GetTable().characters[byte]; }

std::string ToByteCharacters(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) text += ByteCharacter(static_cast<unsigned char>(byte));
  return text;
}

std::optional<std::string> FromByteCharacters(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t size = Utf8CharacterSize(text.substr(i));
    if (size != 1 && size != 2) return std::nullopt;
    const auto unit = [&](size_t at) { return static_cast<uint32_t>(static_cast<unsigned char>(text[at])); };
    const uint32_t point = size == 1 ? unit(i) : ((unit(i) & 0x1F) << 6) | (unit(i + 1) & 0x3F);
    if (point >= kEnd || GetTable().bytes[point] < 0) return std::nullopt;
    result += static_cast<char>(GetTable().bytes[point]);
    i += size;
  }
  return result;
}

}  // namespace fedglm
