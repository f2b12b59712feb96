// The loops that all vector instruction sets share, over a `Vector` that each kernel file defines before it includes this:
//   struct Vector { static constexpr int64_t kWidth; using Register; Zero, Load, Store, Broadcast, MultiplyAdd, Sum }.
// Internal linkage, as in quantization/decode_blocks.h.
#pragma once

#include <cstdint>

namespace fedglm {
namespace {

float DotProduct(const float* a, const float* b, int64_t count) {
  constexpr int64_t kStep = 4 * Vector::kWidth;
  Vector::Register sums[4] = {Vector::Zero(), Vector::Zero(), Vector::Zero(), Vector::Zero()};
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    for (int k = 0; k < 4; ++k) {
      sums[k] = Vector::MultiplyAdd(Vector::Load(a + i + k * Vector::kWidth), Vector::Load(b + i + k * Vector::kWidth), sums[k]);
    }
  }
  for (; i + Vector::kWidth <= count; i += Vector::kWidth) {
    sums[0] = Vector::MultiplyAdd(Vector::Load(a + i), Vector::Load(b + i), sums[0]);
  }
  float sum = Vector::Sum(Vector::Add(Vector::Add(sums[0], sums[1]), Vector::Add(sums[2], sums[3])));
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

void AddScaledRow(float scale, const float* x, float* y, int64_t count) {
  const Vector::Register factor = Vector::Broadcast(scale);
  int64_t i = 0;
  for (; i + Vector::kWidth <= count; i += Vector::kWidth) {
    Vector::Store(y + i, Vector::MultiplyAdd(factor, Vector::Load(x + i), Vector::Load(y + i)));
  }
  for (; i < count; ++i) y[i] += scale * x[i];
}

// kRows rows times kTokens tokens, all sums in registers.
template <int kRows, int kTokens>
void MultiplyBlock(const float* w, int64_t columns, const float* x, int64_t x_stride, float* y, int64_t y_stride) {
  Vector::Register sums[kRows][kTokens];
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) sums[r][t] = Vector::Zero();
  }
  int64_t c = 0;
  for (; c + Vector::kWidth <= columns; c += Vector::kWidth) {
    Vector::Register weights[kRows];
    for (int r = 0; r < kRows; ++r) weights[r] = Vector::Load(w + r * columns + c);
    for (int t = 0; t < kTokens; ++t) {
      const Vector::Register input = Vector::Load(x + t * x_stride + c);
      for (int r = 0; r < kRows; ++r) sums[r][t] = Vector::MultiplyAdd(weights[r], input, sums[r][t]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) {
      float sum = Vector::Sum(sums[r][t]);
      for (int64_t rest = c; rest < columns; ++rest) sum += w[r * columns + rest] * x[t * x_stride + rest];
      y[t * y_stride + r] = sum;
    }
  }
}

template <int kRows>
void MultiplyRows(const float* w, int64_t columns, const float* x, int64_t x_stride, int64_t tokens, float* y,
                  int64_t y_stride) {
  int64_t t = 0;
  for (; t + kTokenBlock <= tokens; t += kTokenBlock) {
    MultiplyBlock<kRows, kTokenBlock>(w, columns, x + t * x_stride, x_stride, y + t * y_stride, y_stride);
  }
  for (; t + 2 <= tokens; t += 2) MultiplyBlock<kRows, 2>(w, columns, x + t * x_stride, x_stride, y + t * y_stride, y_stride);
  if (t < tokens) MultiplyBlock<kRows, 1>(w, columns, x + t * x_stride, x_stride, y + t * y_stride, y_stride);
}

void MultiplyTile(const float* w, int64_t rows, int64_t columns, const float* x, int64_t x_stride, int64_t tokens,
                  float* y, int64_t y_stride) {
  // Tokens in groups that stay in the second-level cache while all rows of the tile pass by.
  const int64_t group = 8 * kTokenBlock;
  for (int64_t t = 0; t < tokens; t += group) {
    const int64_t count = tokens - t < group ? tokens - t : group;
    const float* inputs = x + t * x_stride;
    float* outputs = y + t * y_stride;
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) MultiplyRows<4>(w + r * columns, columns, inputs, x_stride, count, outputs + r, y_stride);
    for (; r < rows; ++r) MultiplyRows<1>(w + r * columns, columns, inputs, x_stride, count, outputs + r, y_stride);
  }
}

// kTokens tokens times kVectors vectors of columns: the sums stay in registers while the tile's rows pass by.
template <int kTokens, int kVectors>
void AccumulateBlock(const float* w, int64_t rows, int64_t columns, const float* dy, int64_t dy_stride, float* dx,
                     int64_t dx_stride) {
  Vector::Register sums[kTokens][kVectors];
  for (int t = 0; t < kTokens; ++t) {
    for (int v = 0; v < kVectors; ++v) sums[t][v] = Vector::Load(dx + t * dx_stride + v * Vector::kWidth);
  }
  for (int64_t r = 0; r < rows; ++r) {
    Vector::Register weights[kVectors];
    for (int v = 0; v < kVectors; ++v) weights[v] = Vector::Load(w + r * columns + v * Vector::kWidth);
    for (int t = 0; t < kTokens; ++t) {
      const Vector::Register factor = Vector::Broadcast(dy[t * dy_stride + r]);
      for (int v = 0; v < kVectors; ++v) sums[t][v] = Vector::MultiplyAdd(factor, weights[v], sums[t][v]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int v = 0; v < kVectors; ++v) Vector::Store(dx + t * dx_stride + v * Vector::kWidth, sums[t][v]);
  }
}

void AccumulateTile(const float* w, int64_t rows, int64_t columns, const float* dy, int64_t dy_stride, int64_t tokens,
                    float* dx, int64_t dx_stride) {
  constexpr int64_t kColumns = 2 * Vector::kWidth;
  int64_t t = 0;
  for (; t + kTokenBlock <= tokens; t += kTokenBlock) {
    int64_t c = 0;
    for (; c + kColumns <= columns; c += kColumns) {
      AccumulateBlock<kTokenBlock, 2>(w + c, rows, columns, dy + t * dy_stride, dy_stride, dx + t * dx_stride + c, dx_stride);
    }
    if (c == columns) continue;
    for (int64_t u = t; u < t + kTokenBlock; ++u) {
      for (int64_t r = 0; r < rows; ++r) {
        AddScaledRow(dy[u * dy_stride + r], w + r * columns + c, dx + u * dx_stride + c, columns - c);
      }
    }
  }
  for (; t < tokens; ++t) {
    for (int64_t r = 0; r < rows; ++r) AddScaledRow(dy[t * dy_stride + r], w + r * columns, dx + t * dx_stride, columns);
  }
}

}  // namespace
}  // namespace fedglm
