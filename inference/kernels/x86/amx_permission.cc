#include "inference/kernels/x86/amx_permission.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fedglm {
namespace {

// Asked of the CPU itself: clang 14's __builtin_cpu_supports has no names for these.
bool CpuHasAmxInt8() {
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;  // of leaf 7's EDX
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kTile) != 0 && (edx & kInt8) != 0;
}

// From Linux 5.16 on; an older kernel, or one told not to, refuses. (Documentation/arch/x86/xstate.rst)
bool AskSystem() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM, which older <asm/prctl.h> lack
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool AmxInt8Permitted() {
  static const bool permitted = CpuHasAmxInt8() && AskSystem();
  return permitted;
}

}  // namespace fedglm

#else

namespace fedglm {
bool AmxInt8Permitted() { return false; }
}  // namespace fedglm

#endif
