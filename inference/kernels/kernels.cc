#include "inference/kernels/kernels.h"

#include <algorithm>
#include <vector>

#include "inference/kernels/levels.h"
#include "inference/kernels/product_kernels.h"

namespace fedglm {
namespace {

// A decoded tile fits the second-level cache with room for the inputs.
constexpr int64_t kTileFloats = 32 << 10;
constexpr int64_t kBf16TileRows = 64;  // so many that to split the activations for them is little work

// The tile of a gradient: its sums are [tokens][columns].
constexpr int64_t kGradientColumns = 128, kGradientRows = 128;

// Up to so many tokens are multiplied one by one with each group of rows, straight from the blocks; to unpack the
// blocks for all of them pays only beyond.
constexpr int64_t kFewTokens = 3;

// 16-bit floats are converted once for each group of tokens that multiplies them; for so many tokens they are decoded
// before.
constexpr int64_t kDirectTokens = 12;

bool MultipliedAsItLies(const WeightMatrix& weights, int64_t tokens) {
  if (weights.type == BlockType::kF32) return reinterpret_cast<uintptr_t>(weights.data) % alignof(float) == 0;
  return (weights.type == BlockType::kF16 || weights.type == BlockType::kBF16) && tokens <= kDirectTokens;
}

// Room for one tile, kept by each thread.
float* TileScratch(int64_t floats) {
  thread_local std::vector<float> scratch;
  if (static_cast<int64_t>(scratch.size()) < floats) scratch.resize(static_cast<size_t>(floats));
  return scratch.data();
}

}  // namespace

void MatMul(const WeightMatrix& weights, const float* x, int64_t tokens, float* y, ThreadPool& pool) {
  const ProductKernels& kernels = ChosenProducts();
  const int64_t columns = weights.columns;
  if (weights.type == BlockType::kBF16 && kernels.multiply_bf16 != nullptr) {
    pool.ParallelFor(weights.rows, kBf16TileRows, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r += kBf16TileRows) {
        kernels.multiply_bf16(weights.Row(r), std::min(kBf16TileRows, end - r), columns, x, tokens, y + r,
                              weights.rows);
      }
    });
    return;
  }
  // Tiles small enough for the cache, and enough of them that every thread gets some.
  const int64_t fitting = std::max<int64_t>(4, kTileFloats / std::max<int64_t>(1, columns) / 4 * 4);
  const int64_t sharing = std::max<int64_t>(4, (weights.rows / pool.threads() + 3) / 4 * 4);
  const int64_t tile = std::min(fitting, sharing);
  const bool direct = MultipliedAsItLies(weights, tokens);
  pool.ParallelFor(weights.rows, tile, [&](int64_t begin, int64_t end) {
    float* const decoded = direct ? nullptr : TileScratch(std::min(tile, end - begin) * columns);
    for (int64_t first = begin; first < end; first += tile) {
      const int64_t rows = std::min(tile, end - first);
      BlockType type = weights.type;
      const std::byte* w = weights.Row(first);
      if (!direct) {
        for (int64_t r = 0; r < rows; ++r) {
          kernels.decode_row(type, weights.Row(first + r), decoded + r * columns, columns);
        }
        type = BlockType::kF32;
        w = reinterpret_cast<const std::byte*>(decoded);
      }
      kernels.multiply_tile(type, w, rows, columns, x, columns, tokens, y + first, weights.rows);
    }
  });
}

void QuantizedRows::Assign(const float* x, int64_t tokens, int64_t columns, ThreadPool& pool) {
  x_ = x;
  tokens_ = tokens;
  columns_ = columns;
  if (columns % kActivationBlock != 0) return;  // no quantized matrix has such rows
  const auto room = [](auto& values, int64_t count) {
    if (static_cast<int64_t>(values.size()) < count) values.resize(static_cast<size_t>(count));
  };
  const int64_t blocks = columns / kActivationBlock;
  room(values_, tokens * columns), room(wide_, tokens * columns);
  room(scales_, tokens * blocks), room(block_sums_, tokens * blocks), room(half_sums_, 2 * tokens * blocks);
  const ProductKernels& kernels = ChosenProducts();
  pool.ParallelFor(tokens, 4, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      kernels.quantize_row(x + t * columns, columns, values_.data() + t * columns, wide_.data() + t * columns,
                           scales_.data() + t * blocks, block_sums_.data() + t * blocks,
                           half_sums_.data() + 2 * t * blocks);
    }
  });
}

void MatMul(const WeightMatrix& weights, const QuantizedRows& x, float* y, ThreadPool& pool) {
  if (RangeOf(weights.type) == LevelRange::kNone) return MatMul(weights, x.rows(), x.tokens(), y, pool);
  const ProductKernels& kernels = ChosenProducts();
  const ActivationView view = {x.columns(),      x.values_.data(),     x.wide_.data(),
                               x.scales_.data(), x.block_sums_.data(), x.half_sums_.data()};
  const int64_t row_bytes = RowBytes(weights.type, weights.columns), tokens = x.tokens();
  if (tokens > kFewTokens) {
    pool.ParallelFor(weights.rows, kLevelTileRows, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r += kLevelTileRows) {
        kernels.multiply_levels(weights.type, weights.Row(r), row_bytes, std::min(kLevelTileRows, end - r), view,
                                tokens, y + r, weights.rows);
      }
    });
    return;
  }
  // A range for each thread and some more, for those that are held up; whole groups of rows in each.
  constexpr int64_t kGroup = 16;
  const int64_t share = (weights.rows / (4 * pool.threads()) + kGroup - 1) / kGroup * kGroup;
  pool.ParallelFor(weights.rows, std::max(kGroup, share), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r += kGroup) {
      for (int64_t t = 0; t < tokens; ++t) {
        kernels.dot_rows(weights.type, weights.Row(r), row_bytes, std::min(kGroup, end - r), view.Token(t),
                         y + t * weights.rows + r);
      }
    }
  });
}

void MatMulTransposed(const WeightMatrix& weights, const float* dy, int64_t tokens, float* dx, ThreadPool& pool,
                      Into into) {
  const ProductKernels& kernels = ChosenProducts();
  // Threads share out the columns, in whole blocks, so that no two write the same sums; so few at a time that what is
  // summed and what is decoded stay in the second-level cache while all rows pass by.
  // Whole vectors, too: what fills none is rounded otherwise, and may only be the row's end.
  const int64_t block = std::max<int64_t>(32, FactsOf(weights.type).weights_per_block), threads = pool.threads();
  const int64_t shares =
      ((weights.columns + kGradientColumns - 1) / kGradientColumns + threads - 1) / threads * threads;
  const int64_t span = ((weights.columns + shares - 1) / shares + block - 1) / block * block;
  pool.ParallelFor(weights.columns, span, [&](int64_t begin, int64_t end) {
    // Apart by an odd number of cache lines: powers of two would meet in few of a cache's sets.
    const int64_t stride = (span + 15) / 16 * 16 + (span / 16 % 2 == 0 ? 16 : 0);
    float* const decoded = TileScratch(kGradientRows * stride);
    for (int64_t from = begin; from < end; from += span) {
      const int64_t columns = std::min(span, end - from);
      if (into == Into::kOverwrite) {
        for (int64_t t = 0; t < tokens; ++t) std::fill_n(dx + t * weights.columns + from, columns, 0.0f);
      }
      for (int64_t first = 0; first < weights.rows; first += kGradientRows) {
        const int64_t rows = std::min(kGradientRows, weights.rows - first);
        for (int64_t r = 0; r < rows; ++r) {
          kernels.decode_row(weights.type, weights.Row(first + r) + RowBytes(weights.type, from), decoded + r * stride,
                             columns);
        }
        kernels.accumulate_tile(decoded, stride, rows, columns, dy + first, weights.rows, tokens, dx + from,
                                weights.columns);
      }
    }
  });
}

void DecodeRowFast(const WeightMatrix& weights, int64_t row, float* out) {
  ChosenProducts().decode_row(weights.type, weights.Row(row), out, weights.columns);
}

}  // namespace fedglm
