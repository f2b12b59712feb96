// The AVX, AVX2, AVX-512, VNNI, BF16 and AMX intrinsics that the kernels of inference/kernels use, in plain C++: found
// in place of the compiler's <immintrin.h>, so that kernels compile unchanged and their loops can be tested on a
// machine that has none of these instructions. Semantics are those of the operation sections in Intel's Software
// Developer's Manual; where a CPU would raise a fault (a misaligned address, tile registers of other shapes than an
// instruction needs), the test aborts. An intrinsic that is not here is a compile error: write it down from the manual.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// Code for these would ask for more intrinsics; without them the kernels' headers take their portable ways.
#undef __AVX2__
#undef __F16C__

#include "inference/quantization/half.h"

// KeepOrder orders registers, of which there are none here.
#define asm(...)

struct __m128 {
  float lanes[4];
};
struct __m128i {
  int32_t lanes[4];
};
struct __m256 {
  float lanes[8];
};
struct __m256i {
  int32_t lanes[8];
};
struct __m512 {
  float lanes[16];
};
struct __m512i {
  int32_t lanes[16];
};

namespace emulation {

[[noreturn]] static inline void Fault(const char* what) {
  std::fprintf(stderr, "emulated CPU: fault: %s\n", what);
  std::abort();
}

template <typename Register>
static inline Register Load(const void* from, uintptr_t alignment) {
  if (reinterpret_cast<uintptr_t>(from) % alignment != 0) Fault("misaligned load");
  Register value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

template <typename Register>
static inline void Store(void* to, const Register& value, uintptr_t alignment) {
  if (reinterpret_cast<uintptr_t>(to) % alignment != 0) Fault("misaligned store");
  std::memcpy(to, &value, sizeof(value));
}

// What `lane(i)` is, in every lane.
template <typename Register, typename Lane>
static inline Register Each(Lane lane) {
  Register value;
  int i = 0;
  for (auto& out : value.lanes) out = lane(i++);
  return value;
}

// `low` and above it what is undefined: here nonsense.
template <typename Register, typename Low>
static inline Register Widened(const Low& low) {
  Register value;
  std::memset(&value, 0x5A, sizeof(value));
  std::memcpy(&value, &low, sizeof(low));
  return value;
}

template <typename Register>
static inline Register AllBytes(char x) {
  Register value;
  std::memset(&value, x, sizeof(value));
  return value;
}

// Number `index` of the Numbers that a register holds.
template <typename Number, typename Register>
static inline Number Part(const Register& value, int index) {
  Number part;
  std::memcpy(&part, reinterpret_cast<const char*>(&value) + index * static_cast<int>(sizeof(part)), sizeof(part));
  return part;
}

// What `word(i)` is, in every 16-bit lane.
template <typename Register, typename Word>
static inline Register EachWord(Word word) {
  uint16_t words[sizeof(Register) / 2];
  int i = 0;
  for (uint16_t& out : words) out = static_cast<uint16_t>(word(i++));
  return Load<Register>(words, 1);
}

// 16-bit lanes of a by a count: what is shifted out is gone.
template <typename Register>
static inline int RightShifted(const Register& a, int i, unsigned count) {
  return count > 15 ? 0 : Part<uint16_t>(a, i) >> count;
}

}  // namespace emulation

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

// ---- AVX-512.

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

// ---- AMX, palette 1: eight tile registers of at most 16 rows of at most 64 bytes.

namespace emulation {

struct TileRegister {
  int rows = 0, row_bytes = 0;
  uint8_t data[16][64] = {};
};

struct TileUnit {
  bool configured = false;
  TileRegister registers[8];
};
static thread_local TileUnit tile_unit;

static inline TileRegister& Tile(int index) {
  if (!tile_unit.configured) Fault("tile instruction without a configuration");
  TileRegister& tile = tile_unit.registers[index];
  if (tile.rows == 0) Fault("tile register that is not configured");
  return tile;
}

template <typename Left, typename Right>
static inline void TileProduct(int sums_index, int left_index, int right_index) {
  TileRegister &sums = Tile(sums_index), &left = Tile(left_index), &right = Tile(right_index);
  if (sums_index == left_index || sums_index == right_index || left_index == right_index) Fault("tile named twice");
  if (sums.row_bytes % 4 != 0 || left.row_bytes % 4 != 0 || sums.rows != left.rows ||
      right.rows != left.row_bytes / 4 || sums.row_bytes != right.row_bytes) {
    Fault("shapes of a tile product do not match");
  }
  for (int m = 0; m < sums.rows; ++m) {
    for (int n = 0; n < sums.row_bytes / 4; ++n) {
      int32_t sum = Part<int32_t>(sums.data[m], n);
      for (int k = 0; k < left.row_bytes; ++k) {
        sum += static_cast<Left>(left.data[m][k]) * static_cast<Right>(right.data[k / 4][4 * n + k % 4]);
      }
      std::memcpy(sums.data[m] + 4 * n, &sum, sizeof(sum));
    }
  }
}

}  // namespace emulation

static inline void _tile_loadconfig(const void* configuration) {
  uint8_t bytes[64];
  std::memcpy(bytes, configuration, sizeof(bytes));
  if (bytes[0] != 1) emulation::Fault("unknown palette");
  if (bytes[1] != 0) emulation::Fault("a start row");
  const auto zero = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      if (bytes[i] != 0) emulation::Fault("reserved byte of a tile configuration is set");
    }
  };
  zero(2, 16), zero(32, 48), zero(56, 64);
  emulation::tile_unit = {};
  for (int tile = 0; tile < 8; ++tile) {
    const int row_bytes = bytes[16 + 2 * tile] + 256 * bytes[17 + 2 * tile], rows = bytes[48 + tile];
    if (row_bytes > 64 || rows > 16 || (row_bytes == 0) != (rows == 0)) emulation::Fault("shape of a tile register");
    emulation::tile_unit.registers[tile].row_bytes = row_bytes;
    emulation::tile_unit.registers[tile].rows = rows;
  }
  emulation::tile_unit.configured = true;
}
static inline void _tile_release() { emulation::tile_unit = {}; }
static inline void _tile_zero(int tile) {
  std::memset(emulation::Tile(tile).data, 0, sizeof(emulation::TileRegister::data));
}
static inline void _tile_loadd(int index, const void* base, int64_t stride) {
  emulation::TileRegister& tile = emulation::Tile(index);
  _tile_zero(index);
  for (int row = 0; row < tile.rows; ++row) {
    std::memcpy(tile.data[row], static_cast<const char*>(base) + row * stride, static_cast<size_t>(tile.row_bytes));
  }
}
static inline void _tile_stored(int index, void* base, int64_t stride) {
  const emulation::TileRegister& tile = emulation::Tile(index);
  for (int row = 0; row < tile.rows; ++row) {
    std::memcpy(static_cast<char*>(base) + row * stride, tile.data[row], static_cast<size_t>(tile.row_bytes));
  }
}
static inline void _tile_dpbssd(int sums, int a, int b) { emulation::TileProduct<int8_t, int8_t>(sums, a, b); }
static inline void _tile_dpbusd(int sums, int a, int b) { emulation::TileProduct<uint8_t, int8_t>(sums, a, b); }
