// AVX-512.
#include "inference/model/row_kernels.h"

#if defined(__x86_64__)

#include "inference/model/row_loops.h"

namespace fedglm {
const RowKernels* Avx512RowKernels() { return &kRowKernels; }
}  // namespace fedglm

#else

namespace fedglm {
const RowKernels* Avx512RowKernels() { return nullptr; }
}  // namespace fedglm

#endif
