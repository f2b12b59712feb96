// The widest vectors of the file that includes this, for the loops of row_loops.h. Internal linkage, and nothing from
// the standard library that the linker could merge with code for another processor.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace fedglm {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
constexpr int kLanes = kVectorBytes / 4;

typedef float Floats __attribute__((vector_size(kVectorBytes)));
typedef int32_t Integers __attribute__((vector_size(kVectorBytes)));
typedef int8_t Bytes __attribute__((vector_size(kLanes)));

inline Floats Load(const float* p) {
  Floats x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
inline void Store(float* p, Floats x) { std::memcpy(p, &x, sizeof(x)); }
inline Floats Broadcast(float x) { return Floats{} + x; }

inline float Sum(Floats x) {
  float lanes[kLanes];
  std::memcpy(lanes, &x, sizeof(x));
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

#if defined(__AVX2__)
// Eight sums at once, each in the order of Sum: halves are added to halves.
inline __m256 Halves(Floats x) {
#if defined(__AVX512F__)
  return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
#else
  return x;
#endif
}
inline void StoreSums(const Floats (&sums)[4][2], float* out, int64_t stride) {
  __m256 quarters[4];  // [query]: four lanes of its first key's sum, four of its second key's
  for (int i = 0; i < 4; ++i) {
    const __m256 a = Halves(sums[i][0]), b = Halves(sums[i][1]);
    quarters[i] = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  }
  __m256 pairs[2];
  for (int i = 0; i < 2; ++i) {
    pairs[i] = _mm256_add_ps(_mm256_shuffle_ps(quarters[2 * i], quarters[2 * i + 1], _MM_SHUFFLE(1, 0, 1, 0)),
                             _mm256_shuffle_ps(quarters[2 * i], quarters[2 * i + 1], _MM_SHUFFLE(3, 2, 3, 2)));
  }
  const __m256 whole = _mm256_add_ps(_mm256_shuffle_ps(pairs[0], pairs[1], _MM_SHUFFLE(2, 0, 2, 0)),
                                     _mm256_shuffle_ps(pairs[0], pairs[1], _MM_SHUFFLE(3, 1, 3, 1)));
  float lanes[8];  // [key][query]
  _mm256_storeu_ps(lanes, whole);
  for (int i = 0; i < 4; ++i) {
    out[i * stride] = lanes[i];
    out[i * stride + 1] = lanes[4 + i];
  }
}
#endif

inline Floats Larger(Floats a, Floats b) { return a > b ? a : b; }
inline Floats Smaller(Floats a, Floats b) { return a < b ? a : b; }

// exp by a polynomial of degree 6 around the nearest multiple of ln 2 (Cephes' expf): 2 units in the last place,
// between exp(-87) and exp(88).
inline Floats Exponential(Floats x) {
  x = Smaller(Larger(x, Broadcast(-87.0f)), Broadcast(88.0f));
  const Floats shift = Broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Floats shifted = x * 1.44269504088896341f + shift;
  const Floats n = shifted - shift;
  const Floats r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  Floats p = Broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const Integers power = (__builtin_convertvector(n, Integers) + 127) << 23;
  Floats two_to_n;
  std::memcpy(&two_to_n, &power, sizeof(two_to_n));
  return p * two_to_n;
}

// A row's end that fills no vector, padded.
inline Floats LoadPart(const float* p, int64_t count, float padding) {
  Floats x = Broadcast(padding);
  std::memcpy(&x, p, static_cast<size_t>(count) * sizeof(float));
  return x;
}
inline void StorePart(float* p, Floats x, int64_t count) {
  std::memcpy(p, &x, static_cast<size_t>(count) * sizeof(float));
}

}  // namespace
}  // namespace fedglm
