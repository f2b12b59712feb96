// AVX-512 BF16: Cooper Lake, Sapphire Rapids, Zen 4 and later. Matrices of BF16; the rest is AVX-512 VNNI's.
#include "inference/kernels/kernel_table.h"

#if defined(__x86_64__)
#include "inference/kernels/avx512_support.h"
#include "inference/kernels/bf16_tile_avx512.h"

namespace fedglm {
namespace {

bool Supported() { return HasAvx512() && __builtin_cpu_supports("avx512bf16"); }

}  // namespace

const KernelTable* Avx512Bf16Kernels() {
  static constexpr KernelTable table = {.name = "avx512bf16", .supported = Supported, .multiply_bf16 = MultiplyBf16};
  return &table;
}

}  // namespace fedglm

#else

namespace fedglm {
const KernelTable* Avx512Bf16Kernels() { return nullptr; }
}  // namespace fedglm

#endif
