// How one head's key or value of a token lies in memory.
#pragma once

#include <cstdint>

namespace fedglm {

// kQ8_0: blocks of 32 values as in GGUF, 34 bytes each; a head whose size no 32 divides ends with a block
// that is not full (heads of 16 and fewer, which no real model has, take no less than as float16).
enum class KvFormat { kFloat32, kFloat16, kQ8_0 };

inline constexpr int64_t kQ8BlockValues = 32, kQ8BlockBytes = 34;

// Bytes of a row of `size` values.
inline int64_t KvRowBytes(KvFormat format, int64_t size) {
  switch (format) {
    case KvFormat::kFloat32:
      return size * 4;
    case KvFormat::kFloat16:
      return size * 2;
    case KvFormat::kQ8_0:
      break;
  }
  return (size + kQ8BlockValues - 1) / kQ8BlockValues * kQ8BlockBytes;
}

}  // namespace fedglm
