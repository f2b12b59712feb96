// Scales of Q4_K and Q5_K. Internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace fedglm {
namespace {

// Eight 6-bit scales, then eight 6-bit minimums, as bytes.
__m128i UnpackSixBits(const uint8_t* packed) {
  uint32_t words[3];
  std::memcpy(words, packed, sizeof(words));
  const uint32_t low = words[0] & 0x3f3f3f3f, low_minimum = words[1] & 0x3f3f3f3f;
  const uint32_t high = (words[2] & 0x0f0f0f0f) | ((words[0] >> 2) & 0x30303030);
  const uint32_t high_minimum = ((words[2] >> 4) & 0x0f0f0f0f) | ((words[1] >> 2) & 0x30303030);
  return _mm_setr_epi32(static_cast<int>(low), static_cast<int>(high), static_cast<int>(low_minimum),
                        static_cast<int>(high_minimum));
}

}  // namespace
}  // namespace fedglm
