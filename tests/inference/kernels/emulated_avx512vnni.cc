#include "inference/kernels/level_tile_avx512vnni.h"
#include "inference/kernels/level_tile.h"
#include "tests/inference/kernels/emulated_kernels.h"

namespace fedglm {

MultiplyLevelsFunction EmulatedAvx512Vnni() { return MultiplyLevels; }

}  // namespace fedglm
