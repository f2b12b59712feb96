// Blocks' bytes into registers, from wherever they lie. Internal linkage.
#pragma once

#include <immintrin.h>

#include <cstddef>

namespace fedglm {
namespace {

__m128i Load16(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }

// 16 bytes of one row in the low half, of another in the high half.
__m256i LoadPair(const std::byte* low, const std::byte* high) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(Load16(low)), Load16(high), 1);
}

}  // namespace
}  // namespace fedglm
