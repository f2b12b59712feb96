// May this process use AMX, the matrix unit of Intel's processors from Sapphire Rapids on? Its registers are 8 KiB
// large, and Linux saves them only for processes that asked. Private to this folder.
#pragma once

namespace fedglm {

// True if the CPU multiplies matrices of 8-bit integers (AMX-TILE and AMX-INT8) and the system lets this process do so;
// the first call asks it. The permission is the process's: all its threads have it, and those it forks. Any thread.
bool AmxInt8Permitted();

}  // namespace fedglm
