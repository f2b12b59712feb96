// AMX with 8-bit integers: Sapphire Rapids and later. Prefill's integers; the rest is that of the sets before it.
#include "inference/kernels/product_kernels.h"

#include "inference/kernels/x86/level_tile_amx.h"

namespace fedglm {

constinit const ProductKernels kAmxProducts = {.multiply_levels = MultiplyLevels};

}  // namespace fedglm
