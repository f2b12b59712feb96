// How much of a test that repeats itself with other numbers runs where a sanitizer makes each turn ten times as long:
// the code that it sees is the same. The release build does all, and so does the night (.ci/nightly sets FEDGLM_WHOLE).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace fedglm {

inline int64_t Repetitions(int64_t all) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  if (std::getenv("FEDGLM_WHOLE") == nullptr) return std::max<int64_t>(1, all / 10);
#endif
  return all;
}

}  // namespace fedglm
