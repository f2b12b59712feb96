// NEON with matrix products of bytes: ARMv8.6 (Neoverse V1, Graviton 3) and later. Prefill's integers; the rest is
// NEON's.
#include "inference/kernels/product_kernels.h"

#include "inference/kernels/arm/level_tile_neon.h"

// Written once over the vectors that the headers above define.
#include "inference/kernels/level_tile.h"

namespace fedglm {

constinit const ProductKernels kNeonI8mmProducts = {.multiply_levels = MultiplyLevels};

}  // namespace fedglm
