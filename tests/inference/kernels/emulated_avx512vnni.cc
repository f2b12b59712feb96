#include "inference/kernels/x86/decode_dot_avx512vnni.h"
#include "inference/kernels/x86/level_tile_avx512vnni.h"

// Written once over the vectors that the headers above define.
#include "inference/kernels/level_tile.h"
#include "tests/inference/kernels/emulated_kernels.h"

namespace fedglm {

MultiplyLevelsFunction EmulatedAvx512Vnni() { return MultiplyLevels; }

int64_t EmulatedAvx512VnniDot(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows,
                              const ActivationView& x, float* y) {
  return DotFirstRows(type, blocks, row_bytes, rows, x, y);
}

}  // namespace fedglm
