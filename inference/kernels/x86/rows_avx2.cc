// AVX2 with FMA and F16C.
#include "inference/kernels/row_loops.h"

namespace fedglm {

constinit const RowKernels kAvx2Rows = kRowLoops;

}  // namespace fedglm
