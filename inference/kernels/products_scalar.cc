// The reference: one number after the other, what the others are tested against.
#include <vector>

#include "inference/kernels/product_kernels.h"
#include "inference/kernels/unpack_levels.h"
#include "inference/quantization/decode_blocks.h"

namespace fedglm {
namespace {

float DotScalar(const float* a, const float* b, int64_t count) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

void AddScaledScalar(float scale, const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] += scale * x[i];
}

void MultiplyTileScalar(BlockType type, const std::byte* w, int64_t rows, int64_t columns, const float* x,
                        int64_t x_stride, int64_t tokens, float* y, int64_t y_stride) {
  std::vector<float> decoded(type == BlockType::kF32 ? 0 : static_cast<size_t>(columns));
  for (int64_t r = 0; r < rows; ++r) {
    const std::byte* const blocks = w + r * RowBytes(type, columns);
    if (type != BlockType::kF32) DecodeBlocksOf(type, blocks, decoded.data(), columns);
    const float* const row = type == BlockType::kF32 ? reinterpret_cast<const float*>(blocks) : decoded.data();
    for (int64_t t = 0; t < tokens; ++t) y[t * y_stride + r] = DotScalar(row, x + t * x_stride, columns);
  }
}

void AccumulateTileScalar(const float* w, int64_t w_stride, int64_t rows, int64_t columns, const float* dy,
                          int64_t dy_stride, int64_t tokens, float* dx, int64_t dx_stride) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < rows; ++r)
      AddScaledScalar(dy[t * dy_stride + r], w + r * w_stride, dx + t * dx_stride, columns);
  }
}

// Integer sums over each step, then float32 sums of the scaled ones in order.
float DotLevels(BlockType type, const std::byte* blocks, const ActivationView& x) {
  const int step_columns = StepColumns(type);
  const bool is_signed = RangeOf(type) == LevelRange::kSigned;
  uint8_t levels[256];
  float steps[16], offsets[16];
  float total = 0;
  for (int64_t from = 0; from < x.columns; from += 256) {
    const int64_t columns = x.columns - from < 256 ? x.columns - from : 256;
    UnpackLevels(type, blocks + RowBytes(type, from), columns, levels, steps, offsets);
    for (int64_t step = 0; step < columns / step_columns; ++step) {
      int32_t sum = 0, inputs = 0;
      for (int64_t c = step * step_columns; c < (step + 1) * step_columns; ++c) {
        sum += is_signed ? static_cast<int8_t>(levels[c]) * x.wide[from + c] : levels[c] * x.values[from + c];
        inputs += x.values[from + c];
      }
      const float scale = x.scales[(from + step * step_columns) / kActivationBlock];
      const float product = static_cast<float>(sum) * (is_signed ? 1.0f / kWideSteps : 1.0f);
      total += scale * (steps[step] * product + offsets[step] * static_cast<float>(inputs));
    }
  }
  return total;
}

void DotRowsScalar(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows, const ActivationView& x,
                   float* y) {
  for (int64_t r = 0; r < rows; ++r) y[r] = DotLevels(type, blocks + r * row_bytes, x);
}

void MultiplyLevelsScalar(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows,
                          const ActivationView& x, int64_t tokens, float* y, int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t) DotRowsScalar(type, blocks, row_bytes, rows, x.Token(t), y + t * y_stride);
}

}  // namespace

constinit const ProductKernels kScalarProducts = {.decode_row = DecodeBlocksOf,
                                                  .multiply_tile = MultiplyTileScalar,
                                                  .accumulate_tile = AccumulateTileScalar,
                                                  .quantize_row = QuantizeRow,
                                                  .dot_rows = DotRowsScalar,
                                                  .multiply_levels = MultiplyLevelsScalar};

}  // namespace fedglm
