// The AVX, AVX2, AVX-512, VNNI, BF16 and AMX intrinsics that the kernels of inference/kernels use, in plain C++: found
// in place of the compiler's <immintrin.h>, so that kernels compile unchanged and their loops can be tested on a
// machine that has none of these instructions. Semantics are those of the operation sections in Intel's Software
// Developer's Manual; where a CPU would raise a fault (a misaligned address, tile registers of other shapes than an
// instruction needs), the test aborts. An intrinsic that is not here is a compile error: write it down from the manual.
#pragma once

#include "tests/inference/kernels/emulation/amx.h"
#include "tests/inference/kernels/emulation/avx2.h"
#include "tests/inference/kernels/emulation/avx512.h"
#include "tests/inference/kernels/emulation/registers.h"
