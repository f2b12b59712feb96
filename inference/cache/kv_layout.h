// How keys and values lie in a page of the cache.
#pragma once

#include <cstdint>

namespace fedglm {

// kQ8_0: blocks of 32 values as in GGUF, 34 bytes each; a head whose size no 32 divides ends with a block
// that is not full (heads of 16 and fewer, which no real model has, take no less than as float16).
enum class KvFormat { kFloat32, kFloat16, kQ8_0 };

inline constexpr int64_t kPageTokens = 32;  // positions of a page
inline constexpr int64_t kQ8BlockValues = 32, kQ8BlockBytes = 34;

// A page holds kPageTokens positions of all layers: [layers][keys, values][kv_heads][kPageTokens] rows of one head
// each. What one head attends to lies together, so that attention walks a page's tile in one stream.
struct KvLayout {
  int64_t layers = 0, kv_heads = 0, head_size = 0;

  int64_t RowBytes(KvFormat format) const {
    switch (format) {
      case KvFormat::kFloat32:
        return head_size * 4;
      case KvFormat::kFloat16:
        return head_size * 2;
      case KvFormat::kQ8_0:
        break;
    }
    return (head_size + kQ8BlockValues - 1) / kQ8BlockValues * kQ8BlockBytes;
  }
  int64_t TileBytes(KvFormat format) const { return kPageTokens * RowBytes(format); }
  int64_t PageBytes(KvFormat format) const { return layers * 2 * kv_heads * TileBytes(format); }
  // Where in a page the tiles of one head begin.
  int64_t KeyOffset(KvFormat format, int64_t layer, int64_t head) const {
    return (layer * 2 * kv_heads + head) * TileBytes(format);
  }
  int64_t ValueOffset(KvFormat format, int64_t layer, int64_t head) const {
    return ((layer * 2 + 1) * kv_heads + head) * TileBytes(format);
  }
};

// Pages that hold `tokens` positions.
inline constexpr int64_t PagesFor(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

}  // namespace fedglm
