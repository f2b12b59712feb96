// The loops that all vector instruction sets share, over a `Vector` that each kernel file defines before it includes
// this:
//   struct Vector { static constexpr int64_t kWidth; using Register; Zero, Load, Store, Broadcast, MultiplyAdd, Sum;
//                   LoadHalves, LoadBf16 }: of kWidth 16-bit numbers.
// Internal linkage, as in quantization/decode_blocks.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "inference/kernels/tile_blocks.h"
#include "inference/quantization/block_type.h"
#include "inference/quantization/half.h"

namespace fedglm {
namespace {

void AddScaledRow(float scale, const float* x, float* y, int64_t count) {
  const Vector::Register factor = Vector::Broadcast(scale);
  int64_t i = 0;
  for (; i + Vector::kWidth <= count; i += Vector::kWidth) {
    Vector::Store(y + i, Vector::MultiplyAdd(factor, Vector::Load(x + i), Vector::Load(y + i)));
  }
  for (; i < count; ++i) y[i] += scale * x[i];
}

// Weights that are multiplied as they lie in the file, or as they were decoded.
struct FloatWeights {
  static constexpr int64_t kBytes = 4;
  static Vector::Register Load(const std::byte* w) { return Vector::Load(reinterpret_cast<const float*>(w)); }
  static float One(const std::byte* w) {
    float weight;
    std::memcpy(&weight, w, sizeof(weight));
    return weight;
  }
};

struct HalfWeights {
  static constexpr int64_t kBytes = 2;
  static Vector::Register Load(const std::byte* w) { return Vector::LoadHalves(w); }
  static float One(const std::byte* w) { return HalfToFloat(LoadHalf(w)); }
};

struct Bf16Weights {
  static constexpr int64_t kBytes = 2;
  static Vector::Register Load(const std::byte* w) { return Vector::LoadBf16(w); }
  static float One(const std::byte* w) { return Bfloat16ToFloat(LoadHalf(w)); }
};

// kRows rows times kTokens tokens, all sums in registers. Not inlined: the loops around it would take some of AVX2's
// sixteen.
template <typename Weights, int kRows, int kTokens>
[[gnu::noinline]] void MultiplyBlock(const std::byte* w, int64_t columns, const float* x, int64_t x_stride, float* y,
                                     int64_t y_stride) {
  Vector::Register sums[kRows][kTokens];
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) sums[r][t] = Vector::Zero();
  }
  int64_t c = 0;
  for (; c + Vector::kWidth <= columns; c += Vector::kWidth) {
    Vector::Register weights[kRows];
    for (int r = 0; r < kRows; ++r) weights[r] = Weights::Load(w + (r * columns + c) * Weights::kBytes);
    for (int t = 0; t < kTokens; ++t) {
      const Vector::Register input = Vector::Load(x + t * x_stride + c);
      for (int r = 0; r < kRows; ++r) sums[r][t] = Vector::MultiplyAdd(weights[r], input, sums[r][t]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) {
      float sum = Vector::Sum(sums[r][t]);
      for (int64_t rest = c; rest < columns; ++rest) {
        sum += Weights::One(w + (r * columns + rest) * Weights::kBytes) * x[t * x_stride + rest];
      }
      y[t * y_stride + r] = sum;
    }
  }
}

template <typename Weights>
void MultiplyTileOf(const std::byte* w, int64_t rows, int64_t columns, const float* x, int64_t x_stride, int64_t tokens,
                    float* y, int64_t y_stride) {
  const int64_t row_bytes = columns * Weights::kBytes;
  // Tokens in groups that stay in the second-level cache while all rows of the tile pass by.
  const int64_t group = 8 * kTokenBlock;
  for (int64_t t = 0; t < tokens; t += group) {
    const int64_t count = tokens - t < group ? tokens - t : group;
    const float* inputs = x + t * x_stride;
    float* outputs = y + t * y_stride;
    ForEachBlock<kTokenBlock>(rows, count, [&]<int kRows, int kTokens>(int64_t row, int64_t token) {
      MultiplyBlock<Weights, kRows, kTokens>(w + row * row_bytes, columns, inputs + token * x_stride, x_stride,
                                             outputs + token * y_stride + row, y_stride);
    });
  }
}

void MultiplyTile(BlockType type, const std::byte* w, int64_t rows, int64_t columns, const float* x, int64_t x_stride,
                  int64_t tokens, float* y, int64_t y_stride) {
  const auto multiply = type == BlockType::kF16    ? MultiplyTileOf<HalfWeights>
                        : type == BlockType::kBF16 ? MultiplyTileOf<Bf16Weights>
                                                   : MultiplyTileOf<FloatWeights>;
  multiply(w, rows, columns, x, x_stride, tokens, y, y_stride);
}

// kTokens tokens times kVectors vectors of columns: the sums stay in registers while the tile's rows pass by.
template <int kTokens, int kVectors>
void AccumulateBlock(const float* w, int64_t w_stride, int64_t rows, const float* dy, int64_t dy_stride, float* dx,
                     int64_t dx_stride) {
  Vector::Register sums[kTokens][kVectors];
  for (int t = 0; t < kTokens; ++t) {
    for (int v = 0; v < kVectors; ++v) sums[t][v] = Vector::Load(dx + t * dx_stride + v * Vector::kWidth);
  }
  for (int64_t r = 0; r < rows; ++r) {
    Vector::Register weights[kVectors];
    for (int v = 0; v < kVectors; ++v) weights[v] = Vector::Load(w + r * w_stride + v * Vector::kWidth);
    for (int t = 0; t < kTokens; ++t) {
      const Vector::Register factor = Vector::Broadcast(dy[t * dy_stride + r]);
      for (int v = 0; v < kVectors; ++v) sums[t][v] = Vector::MultiplyAdd(factor, weights[v], sums[t][v]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int v = 0; v < kVectors; ++v) Vector::Store(dx + t * dx_stride + v * Vector::kWidth, sums[t][v]);
  }
}

// All tokens for kVectors vectors of columns: these weights stay in the first-level cache meanwhile.
template <int kVectors>
void AccumulateColumns(const float* w, int64_t w_stride, int64_t rows, const float* dy, int64_t dy_stride,
                       int64_t tokens, float* dx, int64_t dx_stride) {
  int64_t t = 0;
  for (; t + kGradientTokens <= tokens; t += kGradientTokens) {
    AccumulateBlock<kGradientTokens, kVectors>(w, w_stride, rows, dy + t * dy_stride, dy_stride, dx + t * dx_stride,
                                               dx_stride);
  }
  for (; t < tokens; ++t) {
    AccumulateBlock<1, kVectors>(w, w_stride, rows, dy + t * dy_stride, dy_stride, dx + t * dx_stride, dx_stride);
  }
}

void AccumulateTile(const float* w, int64_t w_stride, int64_t rows, int64_t columns, const float* dy, int64_t dy_stride,
                    int64_t tokens, float* dx, int64_t dx_stride) {
  constexpr int64_t kColumns = kGradientVectors * Vector::kWidth;
  int64_t c = 0;
  for (; c + kColumns <= columns; c += kColumns) {
    AccumulateColumns<kGradientVectors>(w + c, w_stride, rows, dy, dy_stride, tokens, dx + c, dx_stride);
  }
  for (; c + Vector::kWidth <= columns; c += Vector::kWidth) {
    AccumulateColumns<1>(w + c, w_stride, rows, dy, dy_stride, tokens, dx + c, dx_stride);
  }
  if (c == columns) return;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < rows; ++r) {
      AddScaledRow(dy[t * dy_stride + r], w + r * w_stride + c, dx + t * dx_stride + c, columns - c);
    }
  }
}

}  // namespace
}  // namespace fedglm
