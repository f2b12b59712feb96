// What decode needs where it walks four rows of blocks side by side. Internal linkage.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace fedglm {
namespace {

constexpr int64_t kDotRows = 4;  // walked together: as many streams as the prefetcher follows easily

float SumFour(__m128 x) {
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

// What the next four rows have where these are now: no stream that the hardware follows leads there.
void PrefetchNextRows(const std::byte* at, int64_t row_bytes) {
  for (int64_t r = 0; r < kDotRows; ++r) {
    _mm_prefetch(reinterpret_cast<const char*>(at + (kDotRows + r) * row_bytes), _MM_HINT_T1);
  }
}

}  // namespace
}  // namespace fedglm
