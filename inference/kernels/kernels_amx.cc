// AMX with 8-bit integers: Sapphire Rapids and later. Prefill's integers; the rest is that of the sets before it.
#include "inference/kernels/kernel_table.h"

#if defined(__x86_64__)
#include "inference/kernels/amx_permission.h"
#include "inference/kernels/avx512_support.h"
#include "inference/kernels/level_tile_amx.h"

namespace fedglm {
namespace {

bool Supported() { return HasAvx512() && __builtin_cpu_supports("avx512vbmi") && AmxInt8Permitted(); }

}  // namespace

const KernelTable* AmxKernels() {
  static constexpr KernelTable table = {.name = "amx", .supported = Supported, .multiply_levels = MultiplyLevels};
  return &table;
}

}  // namespace fedglm

#else

namespace fedglm {
const KernelTable* AmxKernels() { return nullptr; }
}  // namespace fedglm

#endif
