// What level_tile_amx.h multiplies: a tile of weights and some tokens' activations, laid out for AMX's registers.
// Internal linkage.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "inference/kernels/levels.h"
#include "inference/kernels/product_kernels.h"
#include "inference/kernels/quantized_activations.h"
#include "inference/kernels/unpack_levels.h"
#include "inference/kernels/x86/transpose_avx2.h"

namespace fedglm {
namespace {

constexpr int kLanes = 16;       // rows of weights across a tile register
constexpr int kTileTokens = 16;  // tokens down a tile register
constexpr int64_t kTileRows = kLevelTileRows;
constexpr int64_t kGroups = kTileRows / kLanes;
constexpr int64_t kTileColumns = 512;
constexpr int64_t kMostSteps = kTileColumns / 16;

// ---- The weights of one tile.

struct WeightTile {
  alignas(64) uint8_t levels[kGroups][kTileColumns * kLanes];  // [columns / 4][kLanes][4] of int8_t
  alignas(64) float steps[kGroups][kMostSteps * kLanes];       // [columns / StepColumns][kLanes]
  alignas(64) float offsets[kGroups][kMostSteps * kLanes];
  // One group of rows as it comes out of its blocks.
  alignas(64) uint8_t row_levels[kLanes][kTileColumns];
  alignas(64) float row_steps[kLanes][kMostSteps];
  alignas(64) float row_offsets[kLanes][kMostSteps];
};

// The level that means zero where an offset is only there to say so, -ZeroLevel steps. 0 for all other types.
int ZeroLevel(BlockType type) {
  switch (type) {
    case BlockType::kQ3_K:
      return 4;
    case BlockType::kQ4_0:
      return 8;
    case BlockType::kQ5_0:
      return 16;
    case BlockType::kQ6_K:
      return 32;
    default:
      return 0;
  }
}

// How a type's levels meet activations: without an offset, with one, or without one and with wide activations.
enum class Meeting { kCentred, kOffset, kWide };

Meeting MeetingOf(BlockType type) {
  if (RangeOf(type) == LevelRange::kSigned) return Meeting::kWide;
  return ZeroLevel(type) != 0 ? Meeting::kCentred : Meeting::kOffset;
}

// out[w][kLanes] from kLanes rows of `words` 32-bit words, rounded up to a multiple of eight.
void TransposeRows(const void* rows, int64_t stride, int64_t words, void* out) {
  const auto* const from = static_cast<const uint32_t*>(rows);
  auto* const to = static_cast<uint32_t*>(out);
  for (int64_t w = 0; w < words; w += 8) {
    for (int r = 0; r < kLanes; r += 8) TransposeSquare(from + r * stride + w, stride, to + w * kLanes + r, kLanes);
  }
}

// Unpacks kLanes rows (fewer at the matrix's end: the last one is repeated) and turns them: rows lie side by side.
void PackGroup(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows, int64_t columns, int64_t group,
               WeightTile& tile) {
  const int64_t steps = columns / StepColumns(type);
  const int zero = ZeroLevel(type);
  const Meeting meeting = MeetingOf(type);
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    uint8_t* const levels = tile.row_levels[lane];
    float* const row_steps = tile.row_steps[lane];
    const std::byte* const row = blocks + std::min(lane, rows - 1) * row_bytes;
    UnpackLevels(type, row, columns, levels, row_steps, tile.row_offsets[lane]);
    if (meeting == Meeting::kCentred) {
      for (int64_t c = 0; c < columns; ++c) levels[c] = static_cast<uint8_t>(levels[c] - zero);
    }
    if (meeting == Meeting::kWide) {  // whose steps are finer
      for (int64_t s = 0; s < steps; ++s) row_steps[s] *= 1.0f / kWideSteps;
    }
  }
  TransposeRows(tile.row_levels, kTileColumns / 4, columns / 4, tile.levels[group]);
  TransposeRows(tile.row_steps, kMostSteps, steps, tile.steps[group]);
  if (meeting == Meeting::kOffset) TransposeRows(tile.row_offsets, kMostSteps, steps, tile.offsets[group]);
}

// ---- The tokens that meet it.

// Activations of up to kTileTokens tokens over the columns of a tile, close together: in the matrix, rows lie a
// multiple of 4096 bytes apart for many models, and would push each other out of the first-level cache.
struct TokenTile {
  alignas(64) uint8_t values[kTileTokens][2 * kTileColumns];  // int8_t; wide ones as SplitBytes makes them
  alignas(64) float scales[kTileTokens][kTileColumns / kActivationBlock];
  alignas(64) float input_sums[kTileTokens][kMostSteps];
};

// 32 of 16 bits to their 32 low bytes and then their 32 high ones: x = 256 * high + low with low in 0…255, high signed.
void SplitBytes(const int16_t* wide, uint8_t* bytes) {
  alignas(64) static constexpr auto kOrder = [] {
    std::array<uint8_t, 64> order{};
    for (uint8_t i = 0; i < 32; ++i) {
      order[i] = static_cast<uint8_t>(2 * i);
      order[32 + i] = static_cast<uint8_t>(2 * i + 1);
    }
    return order;
  }();
  const __m512i words = _mm512_loadu_si512(wide);
  _mm512_store_si512(bytes, _mm512_permutexvar_epi8(_mm512_load_si512(kOrder.data()), words));
}

// Columns from … from + columns of the first `tokens` rows of x.
void GatherTokens(const ActivationView& x, int64_t tokens, BlockType type, int64_t from, int64_t columns,
                  TokenTile& out) {
  const Meeting meeting = MeetingOf(type);
  const int64_t blocks = columns / kActivationBlock, first = from / kActivationBlock;
  const int sums_per_block = kActivationBlock / StepColumns(type);
  for (int64_t t = 0; t < tokens; ++t) {
    const ActivationView row = x.Token(t);
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t column = from + b * kActivationBlock;
      if (meeting == Meeting::kWide) {
        SplitBytes(row.wide + column, out.values[t] + 2 * b * kActivationBlock);
      } else {
        std::memcpy(out.values[t] + b * kActivationBlock, row.values + column, kActivationBlock);
      }
    }
    std::copy_n(row.scales + first, blocks, out.scales[t]);
    if (meeting == Meeting::kOffset) {
      const float* const sums = sums_per_block == 1 ? row.block_sums : row.half_sums;
      std::copy_n(sums + first * sums_per_block, blocks * sums_per_block, out.input_sums[t]);
    }
  }
}

}  // namespace
}  // namespace fedglm
