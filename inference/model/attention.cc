#include "inference/model/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "inference/kernels/kernels.h"

namespace fedglm {
namespace {

// In place; float32 with a float32 sum in order, after the largest is taken off.
void Softmax(float* scores, int64_t count) {
  const float highest = *std::max_element(scores, scores + count);
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += scores[i] = std::exp(scores[i] - highest);
  const float inverse = 1.0f / sum;
  for (int64_t i = 0; i < count; ++i) scores[i] *= inverse;
}

}  // namespace

void CausalAttention(const Hyperparameters& h, int64_t layer, const float* queries, int64_t tokens, int64_t start,
                     KvCache& cache, float* out, ThreadPool& pool) {
  const int64_t group = h.heads / h.kv_heads, size = h.head_size, stride = h.kv_width();
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(size)));
  pool.ParallelFor(tokens * h.heads, 1, [&](int64_t begin, int64_t end) {
    thread_local std::vector<float> scores;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t t = item / h.heads, head = item % h.heads, kv_offset = head / group * size;
      const int64_t count = start + t + 1;
      if (static_cast<int64_t>(scores.size()) < count) scores.resize(static_cast<size_t>(count));
      const float* const query = queries + t * h.query_width() + head * size;
      float* const result = out + t * h.query_width() + head * size;
      for (int64_t first = 0; first < count; first += KvCache::kPageTokens) {
        const float* const keys = cache.Key(layer, first) + kv_offset;
        const int64_t last = std::min(count, first + KvCache::kPageTokens);
        for (int64_t p = first; p < last; ++p) {
          scores[static_cast<size_t>(p)] = scale * Dot(query, keys + (p - first) * stride, size);
        }
      }
      Softmax(scores.data(), count);
      std::fill_n(result, size, 0.0f);
      for (int64_t first = 0; first < count; first += KvCache::kPageTokens) {
        const float* const values = cache.Value(layer, first) + kv_offset;
        const int64_t last = std::min(count, first + KvCache::kPageTokens);
        for (int64_t p = first; p < last; ++p) {
          AddScaled(scores[static_cast<size_t>(p)], values + (p - first) * stride, result, size);
        }
      }
    }
  });
}

}  // namespace fedglm
