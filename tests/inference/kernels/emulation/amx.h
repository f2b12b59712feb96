// AMX in plain C++: see immintrin.h. Palette 1: eight tile registers of at most 16 rows of at most 64 bytes.
#pragma once

#include "tests/inference/kernels/emulation/registers.h"

namespace emulation {

struct TileRegister {
  int rows = 0, row_bytes = 0;
  uint8_t data[16][64] = {};
};

struct TileUnit {
  bool configured = false;
  TileRegister registers[8];
};
static thread_local TileUnit tile_unit;

static inline TileRegister& Tile(int index) {
  if (!tile_unit.configured) Fault("tile instruction without a configuration");
  TileRegister& tile = tile_unit.registers[index];
  if (tile.rows == 0) Fault("tile register that is not configured");
  return tile;
}

template <typename Left, typename Right>
static inline void TileProduct(int sums_index, int left_index, int right_index) {
  TileRegister &sums = Tile(sums_index), &left = Tile(left_index), &right = Tile(right_index);
  if (sums_index == left_index || sums_index == right_index || left_index == right_index) Fault("tile named twice");
  if (sums.row_bytes % 4 != 0 || left.row_bytes % 4 != 0 || sums.rows != left.rows ||
      right.rows != left.row_bytes / 4 || sums.row_bytes != right.row_bytes) {
    Fault("shapes of a tile product do not match");
  }
  for (int m = 0; m < sums.rows; ++m) {
    for (int n = 0; n < sums.row_bytes / 4; ++n) {
      int32_t sum = Part<int32_t>(sums.data[m], n);
      for (int k = 0; k < left.row_bytes; ++k) {
        sum += static_cast<Left>(left.data[m][k]) * static_cast<Right>(right.data[k / 4][4 * n + k % 4]);
      }
      std::memcpy(sums.data[m] + 4 * n, &sum, sizeof(sum));
    }
  }
}

}  // namespace emulation

static inline void _tile_loadconfig(const void* configuration) {
  uint8_t bytes[64];
  std::memcpy(bytes, configuration, sizeof(bytes));
  if (bytes[0] != 1) emulation::Fault("unknown palette");
  if (bytes[1] != 0) emulation::Fault("a start row");
  const auto zero = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      if (bytes[i] != 0) emulation::Fault("reserved byte of a tile configuration is set");
    }
  };
  zero(2, 16), zero(32, 48), zero(56, 64);
  emulation::tile_unit = {};
  for (int tile = 0; tile < 8; ++tile) {
    const int row_bytes = bytes[16 + 2 * tile] + 256 * bytes[17 + 2 * tile], rows = bytes[48 + tile];
    if (row_bytes > 64 || rows > 16 || (row_bytes == 0) != (rows == 0)) emulation::Fault("shape of a tile register");
    emulation::tile_unit.registers[tile].row_bytes = row_bytes;
    emulation::tile_unit.registers[tile].rows = rows;
  }
  emulation::tile_unit.configured = true;
}
static inline void _tile_release() { emulation::tile_unit = {}; }
static inline void _tile_zero(int tile) {
  std::memset(emulation::Tile(tile).data, 0, sizeof(emulation::TileRegister::data));
}
static inline void _tile_loadd(int index, const void* base, int64_t stride) {
  emulation::TileRegister& tile = emulation::Tile(index);
  _tile_zero(index);
  for (int row = 0; row < tile.rows; ++row) {
    std::memcpy(tile.data[row], static_cast<const char*>(base) + row * stride, static_cast<size_t>(tile.row_bytes));
  }
}
static inline void _tile_stored(int index, void* base, int64_t stride) {
  const emulation::TileRegister& tile = emulation::Tile(index);
  for (int row = 0; row < tile.rows; ++row) {
    std::memcpy(static_cast<char*>(base) + row * stride, tile.data[row], static_cast<size_t>(tile.row_bytes));
  }
}
static inline void _tile_dpbssd(int sums, int a, int b) { emulation::TileProduct<int8_t, int8_t>(sums, a, b); }
static inline void _tile_dpbusd(int sums, int a, int b) { emulation::TileProduct<uint8_t, int8_t>(sums, a, b); }
