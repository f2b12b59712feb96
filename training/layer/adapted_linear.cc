#include "training/layer/adapted_linear.h"

#include <algorithm>

#include "inference/kernels/row_kernels.h"

namespace fedglm {
namespace {

constexpr int64_t kTokenGrain = 8;
constexpr int64_t kColumnGrain = 128;
constexpr int64_t kOuterTokens = 16;  // rows that are read side by side: no more than a processor's prefetcher follows

// out[c][r] = in[r][c], or that is added.
void Transpose(const float* in, int64_t rows, int64_t columns, Into into, float* out, ThreadPool& pool) {
  pool.ParallelFor(columns, kColumnGrain, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t r = 0; r < rows; ++r) {
        float& value = out[c * rows + r];
        value = in[r * columns + c] + (into == Into::kAdd ? value : 0.0f);
      }
    }
  });
}

}  // namespace

void LinearInput::Assign(Arithmetic arithmetic, const float* x, int64_t tokens, int64_t width, ThreadPool& pool) {
  arithmetic_ = arithmetic;
  x_ = x;
  tokens_ = tokens;
  if (arithmetic == Arithmetic::kServed) rows_.Assign(x, tokens, width, pool);
}

const float* LinearPass::LowRank(const AdaptedLinear& linear, const float* x, int64_t tokens) {
  const RowKernels& kernels = ChosenRowKernels();
  const int64_t inputs = linear.weight.columns, rank = linear.rank;
  float* const low_rank = low_rank_.Room(tokens * rank);
  pool_.ParallelFor(tokens, kTokenGrain, [&](int64_t begin, int64_t end) {
    kernels.scores(x + begin * inputs, end - begin, linear.a, rank, inputs, low_rank + begin * rank, rank);
    kernels.scale(linear.scale, low_rank + begin * rank, (end - begin) * rank);
  });
  return low_rank;
}

const float* LinearPass::TransposedB(const AdaptedLinear& linear) {
  float* const b = b_.Room(linear.rank * linear.weight.rows);
  pool_.ParallelFor(linear.weight.rows, kColumnGrain, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t r = 0; r < linear.rank; ++r) b[r * linear.weight.rows + o] = linear.b[o * linear.rank + r];
    }
  });
  return b;
}

void LinearPass::Forward(const AdaptedLinear& linear, const LinearInput& input, float* y) {
  const int64_t tokens = input.tokens(), outputs = linear.weight.rows, rank = linear.rank;
  if (input.arithmetic_ == Arithmetic::kServed) {
    MatMul(linear.weight, input.rows_, y, pool_);
  } else {
    MatMul(linear.weight, input.x(), tokens, y, pool_);
  }
  if (rank == 0 && linear.bias == nullptr) return;
  const RowKernels& kernels = ChosenRowKernels();
  const float* const low_rank = rank == 0 ? nullptr : LowRank(linear, input.x(), tokens);
  const float* const b = rank == 0 ? nullptr : TransposedB(linear);
  pool_.ParallelFor(tokens, kTokenGrain, [&](int64_t begin, int64_t end) {
    if (linear.bias != nullptr) {
      for (int64_t t = begin; t < end; ++t) kernels.add(linear.bias, y + t * outputs, outputs);
    }
    if (rank == 0) return;
    kernels.add_weighted(low_rank + begin * rank, rank, end - begin, b, outputs, rank, outputs, y + begin * outputs,
                         outputs);
  });
}

void LinearPass::AddOuterProducts(const float* low_rank, const float* wide, int64_t tokens, int64_t rank, int64_t width,
                                  float* sums) {
  float* const transposed = transposed_.Room(rank * tokens);
  Transpose(low_rank, tokens, rank, Into::kOverwrite, transposed, pool_);
  const RowKernels& kernels = ChosenRowKernels();
  pool_.ParallelFor(width, kColumnGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < tokens; t += kOuterTokens) {
      kernels.add_weighted(transposed + t, tokens, rank, wide + t * width + begin, width,
                           std::min(kOuterTokens, tokens - t), end - begin, sums + begin, width);
    }
  });
}

void LinearPass::Backward(const AdaptedLinear& linear, const float* x, const float* dy, int64_t tokens, float* dx,
                          Into into) {
  const int64_t inputs = linear.weight.columns, outputs = linear.weight.rows, rank = linear.rank;
  if (dx != nullptr) MatMulTransposed(linear.weight, dy, tokens, dx, pool_, into);
  if (rank == 0) return;
  const RowKernels& kernels = ChosenRowKernels();
  if (linear.b_gradient != nullptr) {
    float* const sums = b_gradient_.Room(rank * outputs);
    std::fill_n(sums, rank * outputs, 0.0f);
    AddOuterProducts(LowRank(linear, x, tokens), dy, tokens, rank, outputs, sums);
    Transpose(sums, rank, outputs, Into::kAdd, linear.b_gradient, pool_);
  }
  if (dx == nullptr && linear.a_gradient == nullptr) return;
  const float* const b = TransposedB(linear);
  float* const gradient = low_rank_gradient_.Room(tokens * rank);  // scale dy B
  pool_.ParallelFor(tokens, kTokenGrain, [&](int64_t begin, int64_t end) {
    kernels.scores(dy + begin * outputs, end - begin, b, rank, outputs, gradient + begin * rank, rank);
    kernels.scale(linear.scale, gradient + begin * rank, (end - begin) * rank);
    if (dx == nullptr) return;
    kernels.add_weighted(gradient + begin * rank, rank, end - begin, linear.a, inputs, rank, inputs,
                         dx + begin * inputs, inputs);
  });
  if (linear.a_gradient != nullptr) AddOuterProducts(gradient, x, tokens, rank, inputs, linear.a_gradient);
}

}  // namespace fedglm
