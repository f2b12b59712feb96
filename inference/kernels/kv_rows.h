// A head's key or value to and from the formats of a page. Internal linkage, as in row_vectors.h.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "inference/kernels/row_vectors.h"
#include "inference/quantization/half.h"
#include "inference/quantization/kv_format.h"

namespace fedglm {
namespace {

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

}  // namespace
}  // namespace fedglm
