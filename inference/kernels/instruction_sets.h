// Which instruction set the kernels use: the best that the CPU has, or the one that FEDGLM_ISA or a caller names.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"

namespace fedglm {

// What FEDGLM_ISA may say, on any machine; slowest first, and the first is "scalar".
std::vector<std::string_view> KnownInstructionSets();
// Those of them that this CPU has and this build holds.
std::vector<std::string_view> AvailableInstructionSets();

// A program's main() calls this first. ConfigurationError if the environment's FEDGLM_ISA is not one of the available
// sets; its line lists them. A model is loaded only where this is fine, so a library's user is told as well.
absl::Status CheckInstructionSetOfEnvironment();

// The one in use. At the first call of any kernel: that of FEDGLM_ISA, else (or if that one is not available) the best.
std::string_view InstructionSet();
// A way for tests and --isa to change it. UsageError if it is not available. Not while kernels run.
absl::Status SelectInstructionSet(std::string_view name);

}  // namespace fedglm
