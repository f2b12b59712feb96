#include "training/layer/attention.h"

#include <algorithm>
#include <cmath>

#include "inference/kernels/row_kernels.h"

namespace fedglm {
namespace {

constexpr int64_t kBlock = 32;  // rows whose scores exist at once

// One head of one sequence: `count` rows that lie `width` apart.
struct HeadRows {
  int64_t first, count, head_size, width, offset;
  const float* Row(const float* rows, int64_t i) const { return rows + (first + i) * width + offset; }
  float* Row(float* rows, int64_t i) const { return rows + (first + i) * width + offset; }
};

// Rows first … first + count side by side: [count][head_size].
void Gather(const HeadRows& head, int64_t first, int64_t count, const float* rows, float factor, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    const float* const row = head.Row(rows, first + i);
    for (int64_t c = 0; c < head.head_size; ++c) out[i * head.head_size + c] = factor * row[c];
  }
}

void Scatter(const HeadRows& head, int64_t first, int64_t count, const float* in, float* rows) {
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(in + i * head.head_size, head.head_size, head.Row(rows, first + i));
  }
}

// Turns the scores of rows first … first + m into exp(score - log sum); what a row may not see becomes 0.
void Probabilities(const RowKernels& kernels, int64_t first, int64_t m, int64_t seen, const float* log_sums,
                   float* scores) {
  for (int64_t i = 0; i < m; ++i) {
    float* const row = scores + i * seen;
    kernels.exponentials(row, first + i + 1, log_sums[i]);
    std::fill(row + first + i + 1, row + seen, 0.0f);
  }
}

void TransposeBlock(const float* in, int64_t m, int64_t n, float* out) {
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < m; ++i) out[j * m + i] = in[i * n + j];
  }
}

// Room for a head's rows, kept by each thread.
struct HeadScratch {
  FloatBuffer k, v, dk, dv;                                    // [count][head_size]
  FloatBuffer q, dout, dq, probabilities, scores, transposed;  // of a block of rows
};
HeadScratch& ThreadScratch() {
  thread_local HeadScratch scratch;
  return scratch;
}

void ForwardHead(const HeadRows& q_rows, const HeadRows& kv_rows, int64_t heads, int64_t h, const float* q,
                 const float* k, const float* v, float* out, float* log_sums) {
  const RowKernels& kernels = ChosenRowKernels();
  HeadScratch& scratch = ThreadScratch();
  const int64_t n = q_rows.count, size = q_rows.head_size;
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(size)));
  float* const queries = scratch.q.Room(kBlock * size);
  float* const keys = scratch.k.Room(n * size);
  float* const values = scratch.v.Room(n * size);
  float* const scores = scratch.scores.Room(kBlock * n);
  Gather(kv_rows, 0, n, k, 1, keys);
  Gather(kv_rows, 0, n, v, 1, values);
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t m = std::min(kBlock, n - first), seen = first + m;
    Gather(q_rows, first, m, q, scale, queries);
    kernels.scores(queries, m, keys, seen, size, scores, seen);
    for (int64_t i = 0; i < m; ++i) {
      float* const row = scores + i * seen;
      const int64_t visible = first + i + 1;
      const float highest = kernels.largest(row, visible);
      const float sum = kernels.exponentials(row, visible, highest);
      kernels.scale(1 / sum, row, visible);
      std::fill(row + visible, row + seen, 0.0f);
      log_sums[(q_rows.first + first + i) * heads + h] = highest + std::log(sum);
      std::fill_n(q_rows.Row(out, first + i), size, 0.0f);
    }
    kernels.add_weighted(scores, seen, m, values, size, seen, size, q_rows.Row(out, first), q_rows.width);
  }
}

struct HeadInputs {
  const float *q, *k, *v, *out, *log_sums, *dout;
};
struct HeadOutputs {
  float *dq, *dk, *dv;  // [tokens][heads * head_size] each
};

void BackwardHead(const HeadRows& q_rows, const HeadRows& kv_rows, int64_t heads, int64_t h, const HeadInputs& in,
                  const HeadOutputs& out) {
  const RowKernels& kernels = ChosenRowKernels();
  HeadScratch& scratch = ThreadScratch();
  const int64_t n = q_rows.count, size = q_rows.head_size;
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(size)));
  float* const keys = scratch.k.Room(n * size);
  float* const values = scratch.v.Room(n * size);
  float* const dk = scratch.dk.Room(n * size);
  float* const dv = scratch.dv.Room(n * size);
  float* const queries = scratch.q.Room(kBlock * size);
  float* const dout = scratch.dout.Room(kBlock * size);
  float* const dq = scratch.dq.Room(kBlock * size);
  float* const p = scratch.probabilities.Room(kBlock * n);
  float* const ds = scratch.scores.Room(kBlock * n);
  float* const transposed = scratch.transposed.Room(kBlock * n);
  Gather(kv_rows, 0, n, in.k, 1, keys);
  Gather(kv_rows, 0, n, in.v, 1, values);
  for (float* const sums : {dk, dv}) std::fill_n(sums, n * size, 0.0f);
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t m = std::min(kBlock, n - first), seen = first + m;
    Gather(q_rows, first, m, in.q, scale, queries);
    Gather(q_rows, first, m, in.dout, 1, dout);
    float log_sums[kBlock];
    for (int64_t i = 0; i < m; ++i) log_sums[i] = in.log_sums[(q_rows.first + first + i) * heads + h];
    kernels.scores(queries, m, keys, seen, size, p, seen);
    Probabilities(kernels, first, m, seen, log_sums, p);
    kernels.scores(dout, m, values, seen, size, ds, seen);
    for (int64_t i = 0; i < m; ++i) {
      float along = 0;  // sum_j p[j] dp[j], which is dout out
      kernels.scores(dout + i * size, 1, q_rows.Row(in.out, first + i), 1, size, &along, 1);
      float* const row = ds + i * seen;
      const float* const probabilities = p + i * seen;
      for (int64_t j = 0; j < seen; ++j) row[j] = probabilities[j] * (row[j] - along);
    }
    std::fill_n(dq, m * size, 0.0f);
    kernels.add_weighted(ds, seen, m, keys, size, seen, size, dq, size);
    kernels.scale(scale, dq, m * size);
    Scatter(q_rows, first, m, dq, out.dq);
    TransposeBlock(ds, m, seen, transposed);
    kernels.add_weighted(transposed, m, seen, queries, size, m, size, dk, size);
    TransposeBlock(p, m, seen, transposed);
    kernels.add_weighted(transposed, m, seen, dout, size, m, size, dv, size);
  }
  Scatter(q_rows, 0, n, dk, out.dk);
  Scatter(q_rows, 0, n, dv, out.dv);
}

// body(q_rows, kv_rows, head) for every head of every sequence, on all threads.
template <typename Body>
void ForEachHead(const AttentionShape& shape, std::span<const int64_t> segments, ThreadPool& pool, const Body& body) {
  const auto sequences = static_cast<int64_t>(segments.size()) - 1;
  const int64_t group = shape.heads / shape.kv_heads;
  pool.ParallelFor(sequences * shape.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const auto s = static_cast<size_t>(unit / shape.heads);
      const int64_t h = unit % shape.heads, first = segments[s], count = segments[s + 1] - first;
      body(HeadRows{first, count, shape.head_size, shape.query_width(), h * shape.head_size},
           HeadRows{first, count, shape.head_size, shape.kv_width(), h / group * shape.head_size}, h);
    }
  });
}

// out[t][k] = sum of in[t]'s heads that share head k, in their order.
void AddGroups(const AttentionShape& shape, const float* in, int64_t tokens, float* out, ThreadPool& pool) {
  const RowKernels& kernels = ChosenRowKernels();
  const int64_t group = shape.heads / shape.kv_heads, size = shape.head_size;
  pool.ParallelFor(tokens, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * shape.kv_heads; row < end * shape.kv_heads; ++row) {
      std::copy_n(in + row * group * size, size, out + row * size);
      for (int64_t i = 1; i < group; ++i) kernels.add(in + (row * group + i) * size, out + row * size, size);
    }
  });
}

}  // namespace

void Attention::Forward(std::span<const int64_t> segments, const float* q, const float* k, const float* v, float* out,
                        float* log_sums) const {
  ForEachHead(shape_, segments, pool_, [&](const HeadRows& q_rows, const HeadRows& kv_rows, int64_t h) {
    ForwardHead(q_rows, kv_rows, shape_.heads, h, q, k, v, out, log_sums);
  });
}

void Attention::Backward(std::span<const int64_t> segments, const float* q, const float* k, const float* v,
                         const float* out, const float* log_sums, const float* dout, float* dq, float* dk, float* dv) {
  const int64_t tokens = segments.back();
  const HeadInputs in = {q, k, v, out, log_sums, dout};
  const HeadOutputs heads = {dq, dk_.Room(tokens * shape_.query_width()), dv_.Room(tokens * shape_.query_width())};
  ForEachHead(shape_, segments, pool_, [&](const HeadRows& q_rows, const HeadRows& kv_rows, int64_t h) {
    BackwardHead(q_rows, kv_rows, shape_.heads, h, in, heads);
  });
  AddGroups(shape_, heads.dk, tokens, dk, pool_);
  AddGroups(shape_, heads.dv, tokens, dv, pool_);
}

}  // namespace fedglm
