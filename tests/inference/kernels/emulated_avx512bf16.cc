#include "inference/kernels/x86/bf16_tile_avx512.h"
#include "tests/inference/kernels/emulated_kernels.h"

namespace fedglm {

MultiplyBf16Function EmulatedAvx512Bf16() { return MultiplyBf16; }

}  // namespace fedglm
