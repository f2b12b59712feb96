#include "inference/kernels/x86/level_tile_amx.h"
#include "tests/inference/kernels/emulated_kernels.h"

namespace fedglm {

MultiplyLevelsFunction EmulatedAmx() { return MultiplyLevels; }

bool EmulatedTilesReleased() { return !emulation::tile_unit.configured; }

}  // namespace fedglm
