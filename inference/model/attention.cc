#include "inference/model/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fedglm {
namespace {

constexpr int64_t kTileQueries = 64;  // token-heads of a tile: with their sums and a page's rows they fit the L2 cache

// Kept by each thread.
struct Scratch {
  std::vector<float> queries, sums;    // [queries][head_size]
  std::vector<float> scores;           // [queries][kPageTokens]
  std::vector<float> rows;             // [kPageTokens][head_size]: a page's keys, then its values
  std::vector<float> highest, weight;  // [queries]: the running maximum, and the sum of the exponentials below it

  void Fit(int64_t count, int64_t size) {
    const auto fit = [](std::vector<float>& values, int64_t floats) {
      if (static_cast<int64_t>(values.size()) < floats) values.resize(static_cast<size_t>(floats));
    };
    fit(queries, count * size);
    fit(sums, count * size);
    fit(scores, count * kPageTokens);
    fit(rows, kPageTokens * size);
    fit(highest, count);
    fit(weight, count);
  }
};

// The scores of one query with a page's first `visible` keys become weights; what was summed before is scaled to match.
void Weigh(const RowKernels& kernels, int64_t visible, int64_t size, float* scores, float& highest, float& weight,
           float* sums) {
  const float now = kernels.largest(scores, visible);
  if (now > highest) {
    const float factor = std::exp(highest - now);  // 0 at first
    kernels.scale(factor, sums, size);
    weight *= factor;
    highest = now;
  }
  weight += kernels.exponentials(scores, visible, highest);
}

void AttendTile(const Hyperparameters& h, int64_t layer, const AttentionTile& tile, const RowKernels& kernels,
                float* queries) {
  thread_local Scratch scratch;
  const int64_t size = h.head_size, count = tile.tokens * tile.heads;
  scratch.Fit(count, size);
  const SequenceCache& cache = *tile.sequence->cache;
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(size)));
  const auto row_of = [&](int64_t token) {
    return queries + (tile.sequence->first_row + tile.first_token + token) * h.query_width() + tile.first_head * size;
  };
  for (int64_t t = 0; t < tile.tokens; ++t) {
    std::copy_n(row_of(t), tile.heads * size, scratch.queries.data() + t * tile.heads * size);
  }
  kernels.scale(scale, scratch.queries.data(), count * size);
  std::fill_n(scratch.sums.begin(), count * size, 0.0f);
  std::fill_n(scratch.highest.begin(), count, -std::numeric_limits<float>::infinity());
  std::fill_n(scratch.weight.begin(), count, 0.0f);

  const int64_t first_position = cache.length() + tile.first_token, end = first_position + tile.tokens;
  for (int64_t begin = 0; begin < end; begin += kPageTokens) {
    const int64_t page = begin / kPageTokens, keys = std::min(kPageTokens, end - begin);
    kernels.decode_rows(cache.format(), cache.Keys(layer, tile.kv_head, page), keys, size, scratch.rows.data());
    kernels.scores(scratch.queries.data(), count, scratch.rows.data(), keys, size, scratch.scores.data(), kPageTokens);
    for (int64_t t = 0; t < tile.tokens; ++t) {
      const int64_t visible = std::clamp<int64_t>(first_position + t + 1 - begin, 0, keys);
      for (int64_t i = t * tile.heads; i < (t + 1) * tile.heads; ++i) {
        float* const scores = scratch.scores.data() + i * kPageTokens;
        if (visible > 0) {
          Weigh(kernels, visible, size, scores, scratch.highest[static_cast<size_t>(i)],
                scratch.weight[static_cast<size_t>(i)], scratch.sums.data() + i * size);
        }
        std::fill(scores + visible, scores + keys, 0.0f);
      }
    }
    kernels.decode_rows(cache.format(), cache.Values(layer, tile.kv_head, page), keys, size, scratch.rows.data());
    kernels.add_weighted(scratch.scores.data(), kPageTokens, count, scratch.rows.data(), size, keys, size,
                         scratch.sums.data(), size);
  }
  for (int64_t i = 0; i < count; ++i) {
    kernels.scale(1.0f / scratch.weight[static_cast<size_t>(i)], scratch.sums.data() + i * size, size);
  }
  for (int64_t t = 0; t < tile.tokens; ++t) {
    std::copy_n(scratch.sums.data() + t * tile.heads * size, tile.heads * size, row_of(t));
  }
}

}  // namespace

std::vector<AttentionTile> PlanAttention(const Hyperparameters& h, const Batch& batch, int threads) {
  const int64_t group = h.heads / h.kv_heads, tile_tokens = std::max<int64_t>(1, kTileQueries / group);
  int64_t whole = 0;
  for (const SequenceRows& rows : batch.sequences) whole += (rows.count + tile_tokens - 1) / tile_tokens * h.kv_heads;
  // With less to do than threads, the heads of a group are shared out too, and each part loads the keys for itself.
  const int64_t parts = std::clamp<int64_t>((threads + whole - 1) / whole, 1, group);
  const int64_t heads = (group + parts - 1) / parts;
  std::vector<AttentionTile> tiles;
  for (const SequenceRows& rows : batch.sequences) {
    for (int64_t first = 0; first < rows.count; first += tile_tokens) {
      for (int64_t kv_head = 0; kv_head < h.kv_heads; ++kv_head) {
        for (int64_t head = 0; head < group; head += heads) {
          tiles.push_back({&rows, kv_head, first, std::min(tile_tokens, rows.count - first), kv_head * group + head,
                           std::min(heads, group - head)});
        }
      }
    }
  }
  return tiles;
}

void CausalAttention(const Hyperparameters& h, int64_t layer, const std::vector<AttentionTile>& tiles,
                     const RowKernels& kernels, float* queries, ThreadPool& pool) {
  pool.ParallelFor(static_cast<int64_t>(tiles.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) AttendTile(h, layer, tiles[static_cast<size_t>(i)], kernels, queries);
  });
}

}  // namespace fedglm
