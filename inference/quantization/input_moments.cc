#include "inference/quantization/input_moments.h"

#include <cstring>

namespace fedglm {
namespace {

constexpr int64_t kWindow = InputMoments::kWindow, kLanes = 8;
// Rows that are summed in registers before they are added to the totals: their tile stays in the first-level cache.
constexpr int64_t kTileRows = 32;

// Where row i of a window's triangle begins: rows of kLanes, 2·kLanes, … floats, kLanes of each.
constexpr size_t RowStart(int64_t i) {
  const int64_t group = i / kLanes;
  return static_cast<size_t>(kLanes * kLanes * group * (group + 1) / 2 + i % kLanes * (group + 1) * kLanes);
}
constexpr size_t kWindowFloats = RowStart(kWindow);

// sums[i][j] += Σ tile[r][i]·tile[r][j] for j up to i, and a few more to whole lanes.
void AddTile(const float (&tile)[kTileRows][kWindow], int64_t width, float* sums) {
  for (int64_t i = 0; i < width; ++i) {
    float* const row = sums + RowStart(i);
    for (int64_t j = 0; j <= i; j += kLanes) {
      float lanes[kLanes] = {};
      for (int64_t r = 0; r < kTileRows; ++r) {
        for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += tile[r][i] * tile[r][j + lane];
      }
      for (int64_t lane = 0; lane < kLanes; ++lane) row[j + lane] += lanes[lane];
    }
  }
}

}  // namespace

uint64_t InputMoments::Bytes(int64_t columns) {
  return static_cast<uint64_t>((columns + kWindow - 1) / kWindow) * kWindowFloats * sizeof(float);
}

InputMoments::InputMoments(int64_t columns) : columns_(columns), sums_(Bytes(columns) / sizeof(float)) {}

void InputMoments::Add(const float* x, int64_t rows) {
  rows_ += rows;
  for (int64_t begin = 0; begin < rows; begin += kTileRows) {
    const int64_t count = std::min(kTileRows, rows - begin);
    for (int64_t w = 0; w < windows(); ++w) {
      float tile[kTileRows][kWindow] = {};
      for (int64_t r = 0; r < count; ++r) {
        std::copy_n(x + (begin + r) * columns_ + w * kWindow, WidthOf(w), tile[r]);
      }
      AddTile(tile, WidthOf(w), sums_.data() + static_cast<size_t>(w) * kWindowFloats);
    }
  }
}

double InputMoments::Mean(int64_t window, int64_t i, int64_t j) const {
  if (rows_ == 0) return 0;
  const size_t at = static_cast<size_t>(window) * kWindowFloats + RowStart(std::max(i, j));
  return static_cast<double>(sums_[at + static_cast<size_t>(std::min(i, j))]) / static_cast<double>(rows_);
}

}  // namespace fedglm
