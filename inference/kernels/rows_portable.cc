// 16-byte vectors, which every 64-bit processor has (SSE2, NEON).
#include "inference/kernels/row_loops.h"

namespace fedglm {

constinit const RowKernels kPortableRows = kRowLoops;

}  // namespace fedglm
