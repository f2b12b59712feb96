// AVX-512 VNNI: Ice Lake, Zen 4 and later. Prefill's integers, and decode's for the usual types; the rest is AVX-512's
// and AVX2's.
#include "inference/kernels/kernel_table.h"

#if defined(__x86_64__)
#include "inference/kernels/avx512_support.h"
#include "inference/kernels/decode_dot_avx512vnni.h"
#include "inference/kernels/level_tile_avx512vnni.h"

// Written once over the vectors that the headers above define.
#include "inference/kernels/level_tile.h"

namespace fedglm {
namespace {

bool Supported() { return HasAvx512() && __builtin_cpu_supports("avx512vnni"); }

void DotRows(BlockType type, const std::byte* blocks, int64_t row_bytes, int64_t rows, const ActivationView& x,
             float* y) {
  const int64_t done = DotFirstRows(type, blocks, row_bytes, rows, x, y);
  if (done < rows) Avx2Kernels()->dot_rows(type, blocks + done * row_bytes, row_bytes, rows - done, x, y + done);
}

}  // namespace

const KernelTable* Avx512VnniKernels() {
  static constexpr KernelTable table = {
      .name = "avx512vnni", .supported = Supported, .dot_rows = DotRows, .multiply_levels = MultiplyLevels};
  return &table;
}

}  // namespace fedglm

#else

namespace fedglm {
const KernelTable* Avx512VnniKernels() { return nullptr; }
}  // namespace fedglm

#endif
