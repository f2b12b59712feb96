// All targets as one libFuzzer program: FEDGLM_FUZZ_TARGET in the environment names the one that runs.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/fuzz/fuzz_targets.h"

namespace {

void (*run)(std::string_view input) = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* const wanted = std::getenv("FEDGLM_FUZZ_TARGET");
  for (const fedglm::fuzz::Target& target : fedglm::fuzz::kTargets) {
    if (wanted != nullptr && std::string_view(wanted) == target.name) run = target.run;
  }
  if (run != nullptr) return 0;
  std::fprintf(stderr, "fuzz: FEDGLM_FUZZ_TARGET names one of:");
  for (const fedglm::fuzz::Target& target : fedglm::fuzz::kTargets) std::fprintf(stderr, " %s", target.name);
  std::fprintf(stderr, "\n");
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  run(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
