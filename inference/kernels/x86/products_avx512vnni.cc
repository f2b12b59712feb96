// AVX-512 VNNI: Ice Lake, Zen 4 and later. Prefill's integers, and decode's for the usual types; the rest is AVX-512's
// and AVX2's.
#include "inference/kernels/product_kernels.h"

#include "inference/kernels/x86/decode_dot_avx512vnni.h"
#include "inference/kernels/x86/level_tile_avx512vnni.h"

// Written once over the vectors that the headers above define.
#include "inference/kernels/level_tile.h"

namespace fedglm {
namespace {

void DotRows(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows, const ActivationView& x,
             float* y) {
  const int64_t done = DotFirstRows(type, blocks, row_bytes, rows, x, y);
  if (done < rows) kAvx2Products.dot_rows(type, blocks + done * row_bytes, row_bytes, rows - done, x, y + done);
}

}  // namespace

constinit const ProductKernels kAvx512VnniProducts = {.dot_rows = DotRows, .multiply_levels = MultiplyLevels};

}  // namespace fedglm
