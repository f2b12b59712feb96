// The bytes of a GGUF file field by field, right or wrong: what GgufWriter would never write.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "inference/gguf/gguf_format.h"
#include "inference/quantization/block_type.h"

namespace fedglm {

// `value` in `bytes` bytes, little-endian.
inline std::string LittleEndian(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}
inline std::string GgufString(std::string_view text) { return LittleEndian(text.size(), 8) + std::string(text); }

struct RawKey {
  std::string name;
  uint32_t type = gguf_format::kUint32;
  std::string value = LittleEndian(1, 4);
  std::optional<uint64_t> name_size = {};  // what it says, if not the truth
};

// A key whose value is an array of `count` elements, whatever `elements` holds.
inline RawKey ArrayKey(std::string name, uint32_t type, uint64_t count, std::string elements) {
  return {std::move(name), gguf_format::kArray, LittleEndian(type, 4) + LittleEndian(count, 8) + std::move(elements)};
}

struct RawTensor {
  std::string name;
  std::vector<uint64_t> extent;
  uint32_t type = static_cast<uint32_t>(BlockType::kF32);
  uint64_t offset = 0;
  std::optional<uint32_t> dimensions = {};  // what it says, if not the truth
};

struct RawGguf {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> tensor_count = {}, key_count = {};  // what it says, if not the truth
  std::vector<RawKey> keys = {};
  std::vector<RawTensor> tensors = {};
  uint64_t alignment = 32;  // of the data behind the header
  std::string data = {};

  std::string Bytes() const {
    std::string bytes = magic + LittleEndian(version, 4);
    bytes += LittleEndian(tensor_count.value_or(tensors.size()), 8) + LittleEndian(key_count.value_or(keys.size()), 8);
    for (const RawKey& key : keys) {
      bytes += LittleEndian(key.name_size.value_or(key.name.size()), 8) + key.name;
      bytes += LittleEndian(key.type, 4) + key.value;
    }
    for (const RawTensor& tensor : tensors) {
      bytes += GgufString(tensor.name);
      bytes += LittleEndian(tensor.dimensions.value_or(static_cast<uint32_t>(tensor.extent.size())), 4);
      for (const uint64_t extent : tensor.extent) bytes += LittleEndian(extent, 8);
      bytes += LittleEndian(tensor.type, 4) + LittleEndian(tensor.offset, 8);
    }
    if (!tensors.empty()) bytes.resize((bytes.size() + alignment - 1) / alignment * alignment, '\0');
    return bytes + data;
  }
};

}  // namespace fedglm
