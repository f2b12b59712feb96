// Prefill's way through a matrix of levels on AMX. As in level_tile.h, kTileRows rows by kTileColumns columns are
// unpacked once into the first-level cache and then meet all tokens; but here one instruction multiplies 16 tokens by
// 16 rows over the columns of a step. A tile register holds tokens as they lie in memory, one below the other, or rows
// of weights side by side with four columns of each together, which is how VNNI has them too. Included by
// products_amx.cc alone.
//
// Sums end where a step does, after 16 or 32 of the 64 columns that an instruction could take. It is not the products
// that cost then (16 cycles for 16 by 16 sums), but scaling these sums: one conversion, multiplication and fused
// addition for each 16 of them, at two operations a cycle. So that is what the loops are laid out for: totals stay in
// registers over all steps of a tile, and types whose offset only says which level is zero (Q4_0, Q5_0, Q3_K, Q6_K) get
// signed levels, which need no offset.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "inference/kernels/levels.h"
#include "inference/kernels/quantized_activations.h"
#include "inference/kernels/thread_buffer.h"
#include "inference/kernels/x86/tile_operands_amx.h"

namespace fedglm {
namespace {

// What LDTILECFG reads. Tile registers 0 and 1 hold sums, 2 and 3 activations, 4 weights.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  explicit constexpr TileShapes(int step_columns) {
    for (const int sums : {0, 1}) row_bytes[sums] = 4 * kLanes, rows[sums] = kTileTokens;
    for (const int inputs : {2, 3}) row_bytes[inputs] = static_cast<uint16_t>(step_columns), rows[inputs] = kTileTokens;
    row_bytes[4] = 4 * kLanes, rows[4] = static_cast<uint8_t>(step_columns / 4);
  }
};
static_assert(sizeof(TileShapes) == 64);

// This thread's tile registers, shaped for products of so many columns as long as the object lives. Given back, because
// what is in use must be saved at each switch between threads.
class TileRegisters {
 public:
  explicit TileRegisters(int step_columns) {
    // Constants: GCC 12 takes LDTILECFG to read eight bytes, and might not have written the others of a variable.
    static constexpr TileShapes kShapes16(16), kShapes32(32);
    _tile_loadconfig(step_columns == 16 ? &kShapes16 : &kShapes32);
  }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

// Sums of one step; the second are those of high bytes.
using StepSums = int32_t[2][kTileTokens][kLanes];

template <int kStepColumns, Meeting kMeeting>
[[gnu::always_inline]] inline void MultiplyStep(const LevelTile& tile, const TokenTile& inputs, int64_t step,
                                                StepSums& sums) {
  constexpr bool kWide = kMeeting == Meeting::kWide;
  const uint8_t* const values = inputs.values[0] + step * kStepColumns * (kWide ? 2 : 1);
  _tile_loadd(4, tile.levels + step * kStepColumns * kLanes, 4 * kLanes);
  _tile_loadd(2, values, sizeof(inputs.values[0]));
  _tile_zero(0);
  if constexpr (kWide) {
    _tile_loadd(3, values + kActivationBlock, sizeof(inputs.values[0]));
    _tile_zero(1);
    _tile_dpbusd(0, 2, 4);
    _tile_dpbssd(1, 3, 4);
    _tile_stored(1, sums[1], sizeof(sums[1][0]));
  } else {
    _tile_dpbssd(0, 2, 4);
  }
  _tile_stored(0, sums[0], sizeof(sums[0][0]));
}

// totals[t] += step * scale * sums + offset * (the activations' sum), for one step.
template <int kTokens, int kStepColumns, Meeting kMeeting>
[[gnu::always_inline]] inline void AddScaledSums(const LevelTile& tile, const TokenTile& inputs, int64_t step,
                                                 const StepSums& sums, __m512 (&totals)[kTokens]) {
  const __m512 steps = _mm512_load_ps(tile.steps + step * kLanes);
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    __m512i sum = _mm512_load_si512(sums[0][t]);
    if constexpr (kMeeting == Meeting::kWide) {
      sum = _mm512_add_epi32(sum, _mm512_slli_epi32(_mm512_load_si512(sums[1][t]), 8));
    }
    const __m512 scale = _mm512_set1_ps(inputs.scales[t][step * kStepColumns / kActivationBlock]);
    totals[t] = _mm512_fmadd_ps(steps, _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale), totals[t]);
  }
  if constexpr (kMeeting == Meeting::kOffset) {
    const __m512 offsets = _mm512_load_ps(tile.offsets + step * kLanes);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      totals[t] = _mm512_fmadd_ps(offsets, _mm512_set1_ps(inputs.input_sums[t][step]), totals[t]);
    }
  }
}

// sums[t][kTileRows] += of one group of rows. Products are of kTileTokens tokens, of which the first kTokens count.
template <int kTokens, int kStepColumns, Meeting kMeeting>
void MultiplyTokens(const LevelTile& tile, const TokenTile& inputs, float* sums) {
  alignas(64) StepSums products[2];
  __m512 totals[kTokens];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) totals[t] = _mm512_loadu_ps(sums + t * kTileRows);
  // GCC 12 does not know that tile loads read memory: what was written before must not be kept back.
  asm volatile("" ::: "memory");
  const int64_t steps = tile.columns / kStepColumns;
  MultiplyStep<kStepColumns, kMeeting>(tile, inputs, 0, products[0]);
  for (int64_t step = 0; step < steps; ++step) {
    // The matrix unit works on the next step while this one is scaled.
    if (step + 1 < steps) MultiplyStep<kStepColumns, kMeeting>(tile, inputs, step + 1, products[(step + 1) % 2]);
    AddScaledSums<kTokens, kStepColumns, kMeeting>(tile, inputs, step, products[step % 2], totals);
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) _mm512_storeu_ps(sums + t * kTileRows, totals[t]);
}

template <int kTokens>
void MultiplyTokens(BlockType type, const LevelTile& tile, const TokenTile& inputs, float* sums) {
  const bool long_steps = StepColumns(type) == 32;
  switch (MeetingOf(type)) {
    case Meeting::kCentred:
      return long_steps ? MultiplyTokens<kTokens, 32, Meeting::kCentred>(tile, inputs, sums)
                        : MultiplyTokens<kTokens, 16, Meeting::kCentred>(tile, inputs, sums);
    case Meeting::kOffset:
      return long_steps ? MultiplyTokens<kTokens, 32, Meeting::kOffset>(tile, inputs, sums)
                        : MultiplyTokens<kTokens, 16, Meeting::kOffset>(tile, inputs, sums);
    case Meeting::kWide:
      return MultiplyTokens<kTokens, 32, Meeting::kWide>(tile, inputs, sums);
  }
}

// y[t][r] = sum_c W[r][c] x[t][c] for at most kTileRows rows. W's rows begin at `blocks`, row_bytes apart.
void MultiplyLevels(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows, const ActivationView& x,
                    int64_t tokens, float* y, int64_t y_stride) {
  thread_local WeightTile weights;
  thread_local TokenTile inputs;
  thread_local ThreadBuffer<float> buffer;
  const int64_t padded = (tokens + kTileTokens - 1) / kTileTokens * kTileTokens;
  float* const sums = buffer.Zeros(padded * kTileRows);
  const int64_t groups = (rows + kLanes - 1) / kLanes;
  const TileRegisters registers(StepColumns(type));
  for (int64_t from = 0; from < x.columns; from += kTileColumns) {
    const int64_t columns = std::min<int64_t>(kTileColumns, x.columns - from);
    for (int64_t group = 0; group < groups; ++group) {
      const std::byte* const first = blocks + group * kLanes * row_bytes + RowBytes(type, from);
      PackGroup(type, first, row_bytes, rows - group * kLanes, columns, group, weights);
    }
    for (int64_t t = 0; t < tokens; t += kTileTokens) {
      const int64_t count = std::min<int64_t>(kTileTokens, tokens - t);
      GatherTokens(x.Token(t), count, type, from, columns, inputs);
      for (int64_t group = 0; group < groups; ++group) {
        const LevelTile tile = {RangeOf(type), columns, weights.levels[group], weights.steps[group],
                                weights.offsets[group]};
        float* const out = sums + t * kTileRows + group * kLanes;
        if (count > 8) {
          MultiplyTokens<kTileTokens>(type, tile, inputs, out);
        } else {
          MultiplyTokens<8>(type, tile, inputs, out);
        }
      }
    }
  }
  for (int64_t t = 0; t < tokens; ++t) std::copy_n(sums + t * kTileRows, rows, y + t * y_stride);
}

}  // namespace
}  // namespace fedglm
