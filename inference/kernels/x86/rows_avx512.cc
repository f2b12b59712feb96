// AVX-512 (F, BW, VL, DQ).
#include "inference/kernels/row_loops.h"

namespace fedglm {

constinit const RowKernels kAvx512Rows = kRowLoops;

}  // namespace fedglm
