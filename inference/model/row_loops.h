// The loops of row_kernels.h over the widest vectors of the file that includes this. Internal linkage, and nothing from
// the standard library that the linker could merge with code for another processor.
//
// Each result is summed in an order that depends on `size` alone, not on how many rows are computed together: a token's
// values are the same in every batch. So a row's end that fills no vector is padded: of a loop over single floats the
// compiler contracts multiplications and additions as it likes, in one place and not in the other.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "inference/cache/kv_layout.h"
#include "inference/model/row_kernels.h"
#include "inference/quantization/half.h"

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

template <int kQueries, int kKeys>
inline void ScoreBlock(const float* queries, const float* keys, int64_t size, float* scores, int64_t stride) {
  Floats sums[kQueries][kKeys] = {};
  int64_t c = 0;
  for (; c + kLanes <= size; c += kLanes) {
    Floats key[kKeys];
    for (int j = 0; j < kKeys; ++j) key[j] = Load(keys + j * size + c);
    for (int i = 0; i < kQueries; ++i) {
      const Floats query = Load(queries + i * size + c);
      for (int j = 0; j < kKeys; ++j) sums[i][j] += query * key[j];
    }
  }
  if (c < size) {
    Floats key[kKeys];
    for (int j = 0; j < kKeys; ++j) key[j] = LoadPart(keys + j * size + c, size - c, 0);
    for (int i = 0; i < kQueries; ++i) {
      const Floats query = LoadPart(queries + i * size + c, size - c, 0);
      for (int j = 0; j < kKeys; ++j) sums[i][j] += query * key[j];
    }
  }
#if defined(__AVX2__)
  if constexpr (kQueries == 4 && kKeys == 2) return StoreSums(sums, scores, stride);
#endif
  for (int i = 0; i < kQueries; ++i) {
    for (int j = 0; j < kKeys; ++j) scores[i * stride + j] = Sum(sums[i][j]);
  }
}

template <int kQueries>
inline void ScoreRows(const float* queries, const float* keys, int64_t n, int64_t size, float* scores, int64_t stride) {
  constexpr int kKeys = kQueries == 1 ? 4 : 2;
  int64_t j = 0;
  for (; j + kKeys <= n; j += kKeys) ScoreBlock<kQueries, kKeys>(queries, keys + j * size, size, scores + j, stride);
  for (; j < n; ++j) ScoreBlock<kQueries, 1>(queries, keys + j * size, size, scores + j, stride);
}

void Scores(const float* queries, int64_t m, const float* keys, int64_t n, int64_t size, float* scores,
            int64_t stride) {
  int64_t i = 0;
  for (; i + 4 <= m; i += 4) ScoreRows<4>(queries + i * size, keys, n, size, scores + i * stride, stride);
  for (; i < m; ++i) ScoreRows<1>(queries + i * size, keys, n, size, scores + i * stride, stride);
}

template <int kRows, int kVectors>
inline void AddWeightedBlock(const float* weights, int64_t stride, const float* rows, int64_t row_stride, int64_t n,
                             float* out, int64_t out_stride) {
  Floats sums[kRows][kVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) sums[i][v] = Load(out + i * out_stride + v * kLanes);
  }
  for (int64_t j = 0; j < n; ++j) {
    Floats row[kVectors];
    for (int v = 0; v < kVectors; ++v) row[v] = Load(rows + j * row_stride + v * kLanes);
    for (int i = 0; i < kRows; ++i) {
      const Floats weight = Broadcast(weights[i * stride + j]);
      for (int v = 0; v < kVectors; ++v) sums[i][v] += weight * row[v];
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) Store(out + i * out_stride + v * kLanes, sums[i][v]);
  }
}

// The same for `count` columns, fewer than a vector has.
template <int kRows>
inline void AddWeightedPart(const float* weights, int64_t stride, const float* rows, int64_t row_stride, int64_t n,
                            int64_t count, float* out, int64_t out_stride) {
  Floats sums[kRows];
  for (int i = 0; i < kRows; ++i) sums[i] = LoadPart(out + i * out_stride, count, 0);
  for (int64_t j = 0; j < n; ++j) {
    const Floats row = LoadPart(rows + j * row_stride, count, 0);
    for (int i = 0; i < kRows; ++i) sums[i] += Broadcast(weights[i * stride + j]) * row;
  }
  for (int i = 0; i < kRows; ++i) StorePart(out + i * out_stride, sums[i], count);
}

template <int kRows, int kVectors>
inline void AddWeightedRows(const float* weights, int64_t stride, const float* rows, int64_t row_stride, int64_t n,
                            int64_t size, float* out, int64_t out_stride) {
  int64_t c = 0;
  for (; c + kVectors * kLanes <= size; c += kVectors * kLanes) {
    AddWeightedBlock<kRows, kVectors>(weights, stride, rows + c, row_stride, n, out + c, out_stride);
  }
  for (; c + kLanes <= size; c += kLanes) {
    AddWeightedBlock<kRows, 1>(weights, stride, rows + c, row_stride, n, out + c, out_stride);
  }
  if (c < size) {
    AddWeightedPart<kRows>(weights, stride, rows + c, row_stride, n, size - c, out + c, out_stride);
  }
}

void AddWeighted(const float* weights, int64_t stride, int64_t m, const float* rows, int64_t row_stride, int64_t n,
                 int64_t size, float* out, int64_t out_stride) {
  int64_t i = 0;
  for (; i + 4 <= m; i += 4) {
    AddWeightedRows<4, 2>(weights + i * stride, stride, rows, row_stride, n, size, out + i * out_stride, out_stride);
  }
  for (; i < m; ++i) {
    AddWeightedRows<1, 4>(weights + i * stride, stride, rows, row_stride, n, size, out + i * out_stride, out_stride);
  }
}

float Largest(const float* x, int64_t count) {
  float largest = x[0];
  int64_t i = 0;
  if (count >= kLanes) {
    Floats lanes = Load(x);
    for (i = kLanes; i + kLanes <= count; i += kLanes) lanes = Larger(Load(x + i), lanes);
    float parts[kLanes];
    std::memcpy(parts, &lanes, sizeof(lanes));
    for (const float part : parts) largest = part > largest ? part : largest;
  }
  for (; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

float Exponentials(float* x, int64_t count, float highest) {
  Floats sums = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats y = Exponential(Load(x + i) - highest);
    Store(x + i, y);
    sums += y;
  }
  float sum = Sum(sums);
  if (i < count) {
    StorePart(x + i, Exponential(LoadPart(x + i, count - i, highest) - highest), count - i);
    for (; i < count; ++i) sum += x[i];
  }
  return sum;
}

void Scale(float factor, float* x, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(x + i, Load(x + i) * factor);
  for (; i < count; ++i) x[i] *= factor;
}

void Add(const float* x, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(y + i, Load(y + i) + Load(x + i));
  for (; i < count; ++i) y[i] += x[i];
}

void SiluMultiply(const float* gate, const float* up, float* out, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats x = Load(gate + i);
    Store(out + i, x / (Exponential(-x) + 1.0f) * Load(up + i));
  }
  if (i < count) {
    const Floats x = LoadPart(gate + i, count - i, 0);
    StorePart(out + i, x / (Exponential(-x) + 1.0f) * LoadPart(up + i, count - i, 0), count - i);
  }
}

void RmsNorm(const float* x, const float* weight, double epsilon, int64_t width, float* out) {
  Floats sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes) {
    for (int k = 0; k < 4; ++k) {
      const Floats y = Load(x + i + k * kLanes);
      sums[k] += y * y;
    }
  }
  double sum = Sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < width; ++i) sum += static_cast<double>(x[i]) * x[i];
  const float scale = static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(width) + epsilon));
  for (i = 0; i + kLanes <= width; i += kLanes) Store(out + i, Load(x + i) * scale * Load(weight + i));
  for (; i < width; ++i) out[i] = x[i] * scale * weight[i];
}

constexpr float kLargestHalf = 65504.0f;

void EncodeHalves(const float* x, int64_t size, std::byte* out) {
  int64_t i = 0;
#if defined(__F16C__)
  const __m256 limit = _mm256_set1_ps(kLargestHalf), lowest = _mm256_set1_ps(-kLargestHalf);
  for (; i + 8 <= size; i += 8) {
    const __m256 value = _mm256_max_ps(_mm256_min_ps(_mm256_loadu_ps(x + i), limit), lowest);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * i), _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
  }
#endif
  for (; i < size; ++i) {
    const float value = x[i] > kLargestHalf ? kLargestHalf : x[i] < -kLargestHalf ? -kLargestHalf : x[i];
    const uint16_t half = FloatToHalf(value);
    std::memcpy(out + 2 * i, &half, 2);
  }
}

void DecodeHalves(const std::byte* halves, int64_t count, float* out) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves + 2 * i))));
  }
#elif defined(__F16C__)
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + 2 * i))));
  }
#endif
  for (; i < count; ++i) out[i] = HalfToFloat(LoadHalf(halves + 2 * i));
}

void EncodeQ8Block(const float* x, int64_t count, std::byte* out) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
  const float step = largest / 127.0f;
  const uint16_t half = FloatToHalf(step < kLargestHalf ? step : kLargestHalf);
  std::memcpy(out, &half, 2);
  // Levels of the step as it will be read back.
  const float rounded = HalfToFloat(half), inverse = rounded > 0 ? 1.0f / rounded : 0.0f;
  int8_t levels[kQ8BlockValues] = {};
  for (int64_t i = 0; i < count; ++i) {
    const float level = x[i] * inverse;
    levels[i] = static_cast<int8_t>(std::lrintf(level > 127 ? 127 : level < -127 ? -127 : level));
  }
  std::memcpy(out + 2, levels, sizeof(levels));
}

void DecodeQ8Block(const std::byte* block, int64_t count, float* out) {
  const float step = HalfToFloat(LoadHalf(block));
  const std::byte* const levels = block + 2;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Bytes level;
    std::memcpy(&level, levels + i, sizeof(level));
    Store(out + i, __builtin_convertvector(level, Floats) * step);
  }
  for (; i < count; ++i) out[i] = static_cast<float>(static_cast<int8_t>(levels[i])) * step;
}

void EncodeRow(KvFormat format, const float* x, int64_t size, std::byte* out) {
  if (format == KvFormat::kFloat32) {
    std::memcpy(out, x, static_cast<size_t>(size) * sizeof(float));
  } else if (format == KvFormat::kFloat16) {
    EncodeHalves(x, size, out);
  } else {
    for (int64_t i = 0; i < size; i += kQ8BlockValues, out += kQ8BlockBytes) {
      EncodeQ8Block(x + i, size - i < kQ8BlockValues ? size - i : kQ8BlockValues, out);
    }
  }
}

void DecodeRows(KvFormat format, const std::byte* rows, int64_t count, int64_t size, float* out) {
  if (format == KvFormat::kFloat32) {
    std::memcpy(out, rows, static_cast<size_t>(count * size) * sizeof(float));
  } else if (format == KvFormat::kFloat16) {
    DecodeHalves(rows, count * size, out);
  } else {
    for (int64_t row = 0; row < count; ++row, out += size) {
      for (int64_t i = 0; i < size; i += kQ8BlockValues, rows += kQ8BlockBytes) {
        DecodeQ8Block(rows, size - i < kQ8BlockValues ? size - i : kQ8BlockValues, out + i);
      }
    }
  }
}

constexpr RowKernels kRowKernels = {Scores, AddWeighted,  Largest, Exponentials, Scale,
                                    Add,    SiluMultiply, RmsNorm, EncodeRow,    DecodeRows};

}  // namespace
}  // namespace fedglm
