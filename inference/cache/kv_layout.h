// How keys and values lie in a page of the cache.
#pragma once

#include <cstdint>

#include "inference/quantization/kv_format.h"

namespace fedglm {

inline constexpr int64_t kPageTokens = 32;  // positions of a page

// A page holds kPageTokens positions of all layers: [layers][keys, values][kv_heads][kPageTokens] rows of one head
// each. What one head attends to lies together, so that attention walks a page's tile in one stream.
struct KvLayout {
  int64_t layers = 0, kv_heads = 0, head_size = 0;

  int64_t RowBytes(KvFormat format) const { return KvRowBytes(format, head_size); }
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
