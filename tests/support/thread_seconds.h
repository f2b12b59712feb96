// How much processor time a thread took: what bounds a computation on a machine where others work too.
#pragma once

#include <time.h>

namespace fedglm {

// Of the calling thread, since it began.
inline double ThreadSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace fedglm
