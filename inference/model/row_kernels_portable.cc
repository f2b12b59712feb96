// 16-byte vectors, which every 64-bit processor has (SSE2, NEON).
#include "inference/model/row_loops.h"

namespace fedglm {

const RowKernels* PortableRowKernels() { return &kRowKernels; }

}  // namespace fedglm
