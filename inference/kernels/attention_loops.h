// Attention's loops of row_kernels.h: scores of queries with keys, and weighted sums of values. Internal linkage, as in
// row_vectors.h.
//
// Each result is summed in an order that depends on `size` alone, not on how many rows are computed together: a token's
// values are the same in every batch. So a row's end that fills no vector is padded: of a loop over single floats the
// compiler contracts multiplications and additions as it likes, in one place and not in the other.
#pragma once

#include <cstdint>

#include "inference/kernels/row_vectors.h"

namespace fedglm {
namespace {

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

}  // namespace
}  // namespace fedglm
