// Prefill's way through a matrix of levels: kTileRows rows by kTileColumns columns are unpacked once into the
// first-level cache, with the rows across the lanes of a register, and then meet all tokens. Each kernel file defines,
// before it includes this,
//   constexpr int kLanes                                     rows that are computed together; divides kTileRows
//   template <int kTokens> void MultiplyTokens(const LevelTile&, int group, const ActivationView&, float* sums)
//                                                            sums[t][kTileRows] += of that group's rows, kTokens tokens
//   void TransposeWords(const uint32_t* rows, int64_t stride, int64_t words, uint32_t* out)
//                                                            out[w][kLanes] from kLanes rows
//   template <int kGroupLanes> bool PackDirectly(type, blocks, row_bytes, rows, columns, levels, steps, offsets)
//                                                            a faster way to unpack and turn some types, or false
// Internal linkage.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "inference/kernels/levels.h"
#include "inference/kernels/quantized_activations.h"
#include "inference/kernels/thread_buffer.h"
#include "inference/kernels/unpack_levels.h"

namespace fedglm {
namespace {

// What one tile needs of a thread's memory, aligned for the widest registers.
struct LevelTileStorage {
  alignas(64) uint8_t levels[2 * kTileRows * kTileColumns];
  alignas(64) float steps[kTileRows * kTileColumns / 16];
  alignas(64) float offsets[kTileRows * kTileColumns / 16];
  // One group of rows as it comes out of its blocks.
  alignas(64) uint8_t row_levels[kLanes * kTileColumns];
  alignas(64) int16_t row_wide[kLanes * kTileColumns];
  alignas(64) float row_steps[kLanes * kTileColumns / 16];
  alignas(64) float row_offsets[kLanes * kTileColumns / 16];
};

// Asks for the same columns of the next tile: more rows are read side by side than the hardware follows. With few
// tokens half of the time went into waiting for them.
void PrefetchBlocks(const std::byte* blocks, int64_t bytes) {
  constexpr int64_t kCacheLine = 64;
  for (int64_t i = 0; i < bytes; i += kCacheLine) __builtin_prefetch(blocks + i, 0, 2);
}

// Unpacks kLanes rows (fewer at the matrix's end: the last one is repeated) and turns them so that rows lie across
// lanes. `next`: what will be unpacked after these, its rows as far apart.
void PackGroup(BlockType type, const std::byte* blocks, const std::byte* next, int64_t row_bytes, int64_t rows,
               int64_t columns, int group, LevelTileStorage& tile) {
  const int64_t steps = columns / StepColumns(type);
  float* const out_steps = tile.steps + group * kLanes * (kTileColumns / 16);
  float* const out_offsets = tile.offsets + group * kLanes * (kTileColumns / 16);
  for (int64_t lane = 0; lane < kLanes; ++lane) PrefetchBlocks(next + lane * row_bytes, RowBytes(type, columns));
  if (PackDirectly<kLanes>(type, blocks, row_bytes, rows, columns, tile.levels + group * kLanes * kTileColumns,
                           out_steps, out_offsets)) {
    return;
  }
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const std::byte* const row = blocks + std::min(lane, rows - 1) * row_bytes;
    UnpackLevels(type, row, columns, tile.row_levels + lane * kTileColumns, tile.row_steps + lane * steps,
                 tile.row_offsets + lane * steps);
  }
  const bool is_signed = RangeOf(type) == LevelRange::kSigned;
  if (is_signed) {  // as int16_t, for the finer activations
    for (int64_t i = 0; i < kLanes * steps; ++i) tile.row_steps[i] *= 1.0f / kWideSteps;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const auto* const narrow = reinterpret_cast<const int8_t*>(tile.row_levels + lane * kTileColumns);
      int16_t* const wide = tile.row_wide + lane * kTileColumns;
      for (int64_t c = 0; c < columns; ++c) wide[c] = narrow[c];
    }
    TransposeWords(reinterpret_cast<const uint32_t*>(tile.row_wide), kTileColumns / 2, columns / 2,
                   reinterpret_cast<uint32_t*>(tile.levels) + group * kLanes * kTileColumns / 2);
  } else {
    TransposeWords(reinterpret_cast<const uint32_t*>(tile.row_levels), kTileColumns / 4, columns / 4,
                   reinterpret_cast<uint32_t*>(tile.levels) + group * kLanes * kTileColumns / 4);
  }
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      out_steps[s * kLanes + lane] = tile.row_steps[lane * steps + s];
      out_offsets[s * kLanes + lane] = tile.row_offsets[lane * steps + s];
    }
  }
}

LevelTile TileGroup(const LevelTileStorage& tile, BlockType type, int64_t columns, int group) {
  const bool wide = RangeOf(type) == LevelRange::kSigned;
  return {RangeOf(type), columns, tile.levels + group * kLanes * kTileColumns * (wide ? 2 : 1),
          tile.steps + group * kLanes * (kTileColumns / 16), tile.offsets + group * kLanes * (kTileColumns / 16)};
}

// y[t][r] = sum_c W[r][c] x[t][c] for at most kTileRows rows. W's rows begin at `blocks`, row_bytes apart.
void MultiplyLevels(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows, const ActivationView& x,
                    int64_t tokens, float* y, int64_t y_stride) {
  thread_local LevelTileStorage tile;
  thread_local ThreadBuffer<float> buffer;
  float* const sums = buffer.Zeros(tokens * kTileRows);
  const int groups = static_cast<int>((rows + kLanes - 1) / kLanes);
  for (int64_t from = 0; from < x.columns; from += kTileColumns) {
    const int64_t columns = std::min<int64_t>(kTileColumns, x.columns - from);
    // The next columns of these rows, or the first ones of the rows below.
    const std::byte* const next =
        from + columns < x.columns ? blocks + RowBytes(type, from + columns) : blocks + kTileRows * row_bytes;
    for (int group = 0; group < groups; ++group) {
      const int64_t below = group * kLanes * row_bytes;
      PackGroup(type, blocks + RowBytes(type, from) + below, next + below, row_bytes, rows - group * kLanes, columns,
                group, tile);
    }
    int64_t t = 0;
    const auto multiply = [&]<int kTokens>() {
      ActivationView inputs = x.Token(t);
      inputs.values += from, inputs.wide += from;
      inputs.scales += from / kActivationBlock, inputs.block_sums += from / kActivationBlock;
      inputs.half_sums += from / kActivationHalf;
      for (int group = 0; group < groups; ++group) {
        MultiplyTokens<kTokens>(TileGroup(tile, type, columns, group), inputs, sums + t * kTileRows + group * kLanes);
      }
      t += kTokens;
    };
    while (t + kTokenGroup <= tokens) multiply.template operator()<kTokenGroup>();
    while (t < tokens) multiply.template operator()<1>();
  }
  for (int64_t t = 0; t < tokens; ++t) std::copy_n(sums + t * kTileRows, rows, y + t * y_stride);
}

}  // namespace
}  // namespace fedglm
