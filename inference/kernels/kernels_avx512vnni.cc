// AVX-512 VNNI: Ice Lake, Zen 4 and later. Prefill's integers; the rest is AVX-512's and AVX2's.
#include "inference/kernels/kernel_table.h"

#if defined(__x86_64__)
#include "inference/kernels/avx512_support.h"
#include "inference/kernels/level_tile_avx512vnni.h"
#include "inference/kernels/level_tile.h"

namespace fedglm {
namespace {

bool Supported() { return HasAvx512() && __builtin_cpu_supports("avx512vnni"); }

}  // namespace

const KernelTable* Avx512VnniKernels() {
  static constexpr KernelTable table = {.name = "avx512vnni", .supported = Supported, .multiply_levels = MultiplyLevels};
  return &table;
}

}  // namespace fedglm

#else

namespace fedglm {
const KernelTable* Avx512VnniKernels() { return nullptr; }
}  // namespace fedglm

#endif
