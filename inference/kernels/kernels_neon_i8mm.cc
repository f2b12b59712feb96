// NEON with matrix products of bytes: ARMv8.6 (Neoverse V1, Graviton 3) and later. Prefill's integers; the rest is
// NEON's.
#include "inference/kernels/kernel_table.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "inference/kernels/level_tile_neon.h"

// Written once over the vectors that the headers above define.
#include "inference/kernels/level_tile.h"

namespace fedglm {
namespace {

bool Supported() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0 && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }

}  // namespace

const KernelTable* NeonI8mmKernels() {
  static constexpr KernelTable table = {.name = "neon_i8mm", .supported = Supported, .multiply_levels = MultiplyLevels};
  return &table;
}

}  // namespace fedglm

#else

namespace fedglm {
const KernelTable* NeonI8mmKernels() { return nullptr; }
}  // namespace fedglm

#endif
