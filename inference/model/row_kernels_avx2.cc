// AVX2 with FMA and F16C.
#include "inference/model/row_kernels.h"

#if defined(__x86_64__)

#include "inference/model/row_loops.h"

namespace fedglm {
const RowKernels* Avx2RowKernels() { return &kRowKernels; }
}  // namespace fedglm

#else

namespace fedglm {
const RowKernels* Avx2RowKernels() { return nullptr; }
}  // namespace fedglm

#endif
