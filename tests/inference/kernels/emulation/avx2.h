// SSE, AVX and AVX2 in plain C++: see immintrin.h.
#pragma once

#include "tests/inference/kernels/emulation/registers.h"

// ---- SSE: four floats.

static inline __m128 _mm_add_ps(__m128 a, __m128 b) {
  return emulation::Each<__m128>([&](int i) { return a.lanes[i] + b.lanes[i]; });
}
static inline __m128 _mm_add_ss(__m128 a, __m128 b) {
  a.lanes[0] += b.lanes[0];
  return a;
}
static inline __m128 _mm_movehl_ps(__m128 a, __m128 b) { return {{b.lanes[2], b.lanes[3], a.lanes[2], a.lanes[3]}}; }
static inline __m128 _mm_movehdup_ps(__m128 a) { return {{a.lanes[1], a.lanes[1], a.lanes[3], a.lanes[3]}}; }
static inline float _mm_cvtss_f32(__m128 a) { return a.lanes[0]; }
// A hint: any address will do.
constexpr int _MM_HINT_T1 = 2;
static inline void _mm_prefetch(const void*, int) {}

// ---- AVX: eight floats in two halves of four, which most instructions do not cross.

static inline __m256 _mm256_loadu_ps(const float* from) { return emulation::Load<__m256>(from, 1); }
static inline void _mm256_storeu_ps(float* to, __m256 value) { emulation::Store(to, value, 1); }
static inline __m256 _mm256_unpacklo_ps(__m256 a, __m256 b) {
  return emulation::Each<__m256>([&](int i) { return (i % 2 == 0 ? a : b).lanes[i / 4 * 4 + i % 4 / 2]; });
}
static inline __m256 _mm256_unpackhi_ps(__m256 a, __m256 b) {
  return emulation::Each<__m256>([&](int i) { return (i % 2 == 0 ? a : b).lanes[i / 4 * 4 + 2 + i % 4 / 2]; });
}
static inline __m256 _mm256_shuffle_ps(__m256 a, __m256 b, int selectors) {
  return emulation::Each<__m256>(
      [&](int i) { return (i % 4 < 2 ? a : b).lanes[i / 4 * 4 + ((selectors >> (2 * (i % 4))) & 3)]; });
}
static inline __m256 _mm256_permute2f128_ps(__m256 a, __m256 b, int selectors) {
  return emulation::Each<__m256>([&](int i) {
    const int selector = (selectors >> (4 * (i / 4))) & 15;
    if ((selector & 8) != 0) return 0.0f;
    return ((selector & 2) == 0 ? a : b).lanes[(selector & 1) * 4 + i % 4];
  });
}

static inline void _mm256_store_ps(float* to, __m256 value) { emulation::Store(to, value, 32); }
static inline __m256 _mm256_set1_ps(float x) {
  return emulation::Each<__m256>([&](int) { return x; });
}
static inline __m256 _mm256_mul_ps(__m256 a, __m256 b) {
  return emulation::Each<__m256>([&](int i) { return a.lanes[i] * b.lanes[i]; });
}

namespace emulation {

// Half precision: sign, five bits of exponent, ten of fraction.
static inline float FromHalf(uint16_t half) {
  const int exponent = (half >> 10) & 31, fraction = half & 1023;
  float magnitude =
      std::ldexp(static_cast<float>(exponent == 0 ? fraction : fraction + 1024), exponent == 0 ? -24 : exponent - 25);
  if (exponent == 31) magnitude = fraction == 0 ? HUGE_VALF : NAN;
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

}  // namespace emulation

static inline __m256 _mm256_cvtph_ps(__m128i a) {
  return emulation::Each<__m256>([&](int i) { return emulation::FromHalf(emulation::Part<uint16_t>(a, i)); });
}

// ---- SSE2 and AVX2: integers.

static inline __m128i _mm_cvtsi32_si128(int32_t x) { return {{x, 0, 0, 0}}; }
static inline __m128i _mm_setr_epi32(int32_t a, int32_t b, int32_t c, int32_t d) { return {{a, b, c, d}}; }
static inline __m256i _mm256_loadu_si256(const __m256i* from) { return emulation::Load<__m256i>(from, 1); }
static inline __m128i _mm_insert_epi16(__m128i a, int word, int index) {
  const auto value = static_cast<uint16_t>(word);
  std::memcpy(reinterpret_cast<char*>(&a) + 2 * (index & 7), &value, sizeof(value));
  return a;
}
static inline __m128i _mm_loadu_si128(const __m128i* from) { return emulation::Load<__m128i>(from, 1); }
static inline void _mm256_store_si256(__m256i* to, __m256i value) { emulation::Store(to, value, 32); }
static inline __m256i _mm256_castsi128_si256(__m128i low) { return emulation::Widened<__m256i>(low); }
static inline __m256i _mm256_inserti128_si256(__m256i a, __m128i half, int index) {
  std::memcpy(a.lanes + 4 * (index & 1), &half, sizeof(half));
  return a;
}
static inline __m256i _mm256_set1_epi8(char x) { return emulation::AllBytes<__m256i>(x); }
static inline __m256i _mm256_and_si256(__m256i a, __m256i b) {
  return emulation::Each<__m256i>([&](int i) { return a.lanes[i] & b.lanes[i]; });
}
static inline __m256i _mm256_srli_epi16(__m256i a, int count) {
  return emulation::EachWord<__m256i>(
      [&](int i) { return emulation::RightShifted(a, i, static_cast<unsigned>(count)); });
}
static inline __m256i _mm256_unpacklo_epi32(__m256i a, __m256i b) {
  return emulation::Each<__m256i>([&](int i) { return (i % 2 == 0 ? a : b).lanes[i / 4 * 4 + i % 4 / 2]; });
}
static inline __m256i _mm256_unpackhi_epi32(__m256i a, __m256i b) {
  return emulation::Each<__m256i>([&](int i) { return (i % 2 == 0 ? a : b).lanes[i / 4 * 4 + 2 + i % 4 / 2]; });
}
static inline __m256i _mm256_unpacklo_epi64(__m256i a, __m256i b) {
  return emulation::Each<__m256i>([&](int i) { return (i % 4 < 2 ? a : b).lanes[i / 4 * 4 + i % 2]; });
}
static inline __m256i _mm256_unpackhi_epi64(__m256i a, __m256i b) {
  return emulation::Each<__m256i>([&](int i) { return (i % 4 < 2 ? a : b).lanes[i / 4 * 4 + 2 + i % 2]; });
}
