// AVX-512 BF16: Cooper Lake, Sapphire Rapids, Zen 4 and later. Matrices of BF16; the rest is AVX-512 VNNI's.
#include "inference/kernels/product_kernels.h"

#include "inference/kernels/x86/bf16_tile_avx512.h"

namespace fedglm {

constinit const ProductKernels kAvx512Bf16Products = {.multiply_bf16 = MultiplyBf16};

}  // namespace fedglm
