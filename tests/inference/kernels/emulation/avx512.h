// AVX-512 with VBMI, VNNI and BF16 in plain C++: see immintrin.h.
#pragma once

#include "tests/inference/kernels/emulation/avx2.h"

static inline __m512i _mm512_load_si512(const void* from) { return emulation::Load<__m512i>(from, 64); }
static inline __m512i _mm512_loadu_si512(const void* from) { return emulation::Load<__m512i>(from, 1); }
static inline void _mm512_store_si512(void* to, __m512i value) { emulation::Store(to, value, 64); }
static inline __m512 _mm512_load_ps(const float* from) { return emulation::Load<__m512>(from, 64); }
static inline __m512 _mm512_loadu_ps(const float* from) { return emulation::Load<__m512>(from, 1); }
static inline void _mm512_storeu_ps(float* to, __m512 value) { emulation::Store(to, value, 1); }
static inline __m512i _mm512_setzero_si512() { return {}; }
static inline __m512i _mm512_set1_epi32(int32_t x) {
  return emulation::Each<__m512i>([&](int) { return x; });
}
static inline __m512 _mm512_set1_ps(float x) {
  return emulation::Each<__m512>([&](int) { return x; });
}
static inline __m512 _mm512_cvtepi32_ps(__m512i a) {
  return emulation::Each<__m512>([&](int i) { return static_cast<float>(a.lanes[i]); });
}
static inline __m512 _mm512_mul_ps(__m512 a, __m512 b) {
  return emulation::Each<__m512>([&](int i) { return a.lanes[i] * b.lanes[i]; });
}
static inline __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
  return emulation::Each<__m512>([&](int i) { return std::fma(a.lanes[i], b.lanes[i], c.lanes[i]); });
}
// Signed integers: the sanitizer sees a sum that does not fit, which no kernel may have.
static inline __m512i _mm512_add_epi32(__m512i a, __m512i b) {
  return emulation::Each<__m512i>([&](int i) { return a.lanes[i] + b.lanes[i]; });
}
static inline __m512i _mm512_slli_epi32(__m512i a, unsigned count) {
  if (count > 31) return {};
  return emulation::Each<__m512i>(
      [&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.lanes[i]) << count); });
}

static inline __m512i _mm512_set1_epi8(char x) { return emulation::AllBytes<__m512i>(x); }
static inline __m512i _mm512_setr_epi32(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f, int32_t g,
                                        int32_t h, int32_t i, int32_t j, int32_t k, int32_t l, int32_t m, int32_t n,
                                        int32_t o, int32_t p) {
  return {{a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p}};
}
static inline __m512i _mm512_and_si512(__m512i a, __m512i b) {
  return emulation::Each<__m512i>([&](int i) { return a.lanes[i] & b.lanes[i]; });
}
static inline __m512i _mm512_srli_epi16(__m512i a, unsigned count) {
  return emulation::EachWord<__m512i>(
      [&](int i) { return emulation::RightShifted(a, i, static_cast<unsigned>(count)); });
}
static inline __m512i _mm512_or_si512(__m512i a, __m512i b) {
  return emulation::Each<__m512i>([&](int i) { return a.lanes[i] | b.lanes[i]; });
}
// Each lane by a count of its own; a rotation's counts are taken modulo 32.
static inline __m512i _mm512_srlv_epi16(__m512i a, __m512i counts) {
  return emulation::EachWord<__m512i>(
      [&](int i) { return emulation::RightShifted(a, i, emulation::Part<uint16_t>(counts, i)); });
}
static inline __m512i _mm512_sllv_epi16(__m512i a, __m512i counts) {
  return emulation::EachWord<__m512i>([&](int i) {
    const int count = emulation::Part<uint16_t>(counts, i);
    return count > 15 ? 0 : emulation::Part<uint16_t>(a, i) << count;
  });
}
static inline __m512i _mm512_rolv_epi32(__m512i a, __m512i counts) {
  return emulation::Each<__m512i>([&](int i) {
    const auto word = static_cast<uint32_t>(a.lanes[i]);
    const int count = counts.lanes[i] & 31;
    return static_cast<int32_t>(count == 0 ? word : word << count | word >> (32 - count));
  });
}
static inline __m512i _mm512_cvtepu8_epi32(__m128i a) {
  return emulation::Each<__m512i>([&](int i) { return int32_t{emulation::Part<uint8_t>(a, i)}; });
}
static inline __m512i _mm512_cvtepi8_epi32(__m128i a) {
  return emulation::Each<__m512i>([&](int i) { return int32_t{emulation::Part<int8_t>(a, i)}; });
}
static inline __m512 _mm512_cvtph_ps(__m256i a) {
  return emulation::Each<__m512>([&](int i) { return emulation::FromHalf(emulation::Part<uint16_t>(a, i)); });
}

// Quarters and halves.
static inline __m512i _mm512_castsi128_si512(__m128i low) { return emulation::Widened<__m512i>(low); }
static inline __m256i _mm512_castsi512_si256(__m512i a) { return emulation::Load<__m256i>(&a, 1); }
static inline __m128 _mm512_castps512_ps128(__m512 a) { return emulation::Load<__m128>(&a, 1); }
static inline __m256i _mm512_extracti64x4_epi64(__m512i a, int half) {
  return emulation::Load<__m256i>(a.lanes + 8 * (half & 1), 1);
}
static inline __m128 _mm512_extractf32x4_ps(__m512 a, int quarter) {
  return emulation::Load<__m128>(a.lanes + 4 * (quarter & 3), 1);
}
static inline __m512 _mm512_castps256_ps512(__m256 low) { return emulation::Widened<__m512>(low); }
static inline __m512 _mm512_insertf32x8(__m512 a, __m256 half, int index) {
  std::memcpy(a.lanes + 8 * (index & 1), &half, sizeof(half));
  return a;
}
static inline __m512i _mm512_broadcast_i64x4(__m256i a) {
  return emulation::Each<__m512i>([&](int i) { return a.lanes[i % 8]; });
}
static inline __m512i _mm512_broadcast_i32x4(__m128i a) {
  return emulation::Each<__m512i>([&](int i) { return a.lanes[i % 4]; });
}
static inline __m512 _mm512_broadcast_f32x4(__m128 a) {
  return emulation::Each<__m512>([&](int i) { return a.lanes[i % 4]; });
}
// Lane i of the result is lane order[i] of a.
static inline __m512 _mm512_permutexvar_ps(__m512i order, __m512 a) {
  return emulation::Each<__m512>([&](int i) { return a.lanes[order.lanes[i] & 15]; });
}

// VBMI: byte i of the result is byte order[i] of a.
static inline __m512i _mm512_permutexvar_epi8(__m512i order, __m512i a) {
  uint8_t bytes[64];
  for (int i = 0; i < 64; ++i) bytes[i] = emulation::Part<uint8_t>(a, emulation::Part<uint8_t>(order, i) & 63);
  return emulation::Load<__m512i>(bytes, 1);
}

// VNNI: to each 32-bit sum, the products of four unsigned bytes of a with four signed ones of b, or of two signed
// words.
static inline __m512i _mm512_dpbusd_epi32(__m512i sums, __m512i a, __m512i b) {
  return emulation::Each<__m512i>([&](int i) {
    int32_t sum = sums.lanes[i];
    for (int k = 4 * i; k < 4 * i + 4; ++k) sum += emulation::Part<uint8_t>(a, k) * emulation::Part<int8_t>(b, k);
    return sum;
  });
}
static inline __m512i _mm512_dpwssd_epi32(__m512i sums, __m512i a, __m512i b) {
  return emulation::Each<__m512i>([&](int i) {
    int32_t sum = sums.lanes[i];
    for (int k = 2 * i; k < 2 * i + 2; ++k) sum += emulation::Part<int16_t>(a, k) * emulation::Part<int16_t>(b, k);
    return sum;
  });
}

// Masks, one bit a lane: what is not chosen is zero (of `mask_` forms: as it was), and memory is not touched there.
using __mmask8 = uint8_t;
using __mmask16 = uint16_t;
using __mmask32 = uint32_t;
static inline __m512 _mm512_maskz_loadu_ps(__mmask16 chosen, const float* from) {
  return emulation::Each<__m512>([&](int i) { return (chosen >> i & 1) != 0 ? from[i] : 0.0f; });
}
static inline __m512i _mm512_maskz_loadu_epi16(__mmask32 chosen, const void* from) {
  uint16_t words[32] = {};
  for (int i = 0; i < 32; ++i) {
    if ((chosen >> i & 1) != 0) std::memcpy(words + i, static_cast<const char*>(from) + 2 * i, 2);
  }
  return emulation::Load<__m512i>(words, 1);
}

static inline __m512 _mm512_maskz_mov_ps(__mmask16 chosen, __m512 a) {
  return emulation::Each<__m512>([&](int i) { return (chosen >> i & 1) != 0 ? a.lanes[i] : 0.0f; });
}
static inline __m128 _mm_maskz_loadu_ps(__mmask8 chosen, const float* from) {
  return emulation::Each<__m128>([&](int i) { return (chosen >> i & 1) != 0 ? from[i] : 0.0f; });
}
static inline __m512i _mm512_mask_broadcast_i32x4(__m512i before, __mmask16 chosen, __m128i a) {
  return emulation::Each<__m512i>([&](int i) { return (chosen >> i & 1) != 0 ? a.lanes[i % 4] : before.lanes[i]; });
}
// Word i of the result, where it is chosen, is word order[i] of a.
static inline __m512i _mm512_mask_permutexvar_epi16(__m512i before, __mmask32 chosen, __m512i order, __m512i a) {
  return emulation::EachWord<__m512i>([&](int i) {
    return (chosen >> i & 1) != 0 ? emulation::Part<uint16_t>(a, emulation::Part<uint16_t>(order, i) & 31)
                                  : emulation::Part<uint16_t>(before, i);
  });
}

static inline void _mm256_storeu_si256(__m256i* to, __m256i value) { emulation::Store(to, value, 1); }
static inline __m512i _mm512_cvtepu16_epi32(__m256i a) {
  return emulation::Each<__m512i>([&](int i) { return static_cast<int32_t>(emulation::Part<uint16_t>(a, i)); });
}
static inline __m512 _mm512_castsi512_ps(__m512i a) { return emulation::Load<__m512>(&a, 1); }
static inline __m512 _mm512_setzero_ps() { return {}; }
static inline __m512 _mm512_add_ps(__m512 a, __m512 b) {
  return emulation::Each<__m512>([&](int i) { return a.lanes[i] + b.lanes[i]; });
}
static inline __m512 _mm512_sub_ps(__m512 a, __m512 b) {
  return emulation::Each<__m512>([&](int i) { return a.lanes[i] - b.lanes[i]; });
}
static inline float _mm512_reduce_add_ps(__m512 a) {
  float sums[16];
  std::memcpy(sums, a.lanes, sizeof(sums));
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

// BF16: the upper half of a float. What is too small for a normal number is zero, going in and coming out.
struct __m256bh {
  uint16_t lanes[16];
};
struct __m512bh {
  uint16_t lanes[32];
};

namespace emulation {

static inline float FlushedToZero(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

static inline uint16_t ToBf16(float x) { return fedglm::FloatToBfloat16(FlushedToZero(x)); }
static inline float FromBf16(uint16_t x) { return FlushedToZero(fedglm::Bfloat16ToFloat(x)); }

}  // namespace emulation

static inline __m256bh _mm512_cvtneps_pbh(__m512 a) {
  return emulation::Each<__m256bh>([&](int i) { return emulation::ToBf16(a.lanes[i]); });
}
// To each float of `sums` the products of two pairs, the odd one first.
static inline __m512 _mm512_dpbf16_ps(__m512 sums, __m512bh a, __m512bh b) {
  return emulation::Each<__m512>([&](int i) {
    float sum = sums.lanes[i];
    for (int k = 2 * i + 1; k >= 2 * i; --k) {
      sum = emulation::FlushedToZero(std::fma(emulation::FromBf16(a.lanes[k]), emulation::FromBf16(b.lanes[k]), sum));
    }
    return sum;
  });
}
