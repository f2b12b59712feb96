// Runs a program to its end and says what it cost: its own peak memory as the kernel counts it, not what it says
// itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"

namespace fedglm::bench {

struct MeasuredRun {
  std::string output;           // all of stdout
  uint64_t peak_rss_bytes = 0;  // ru_maxrss: resident anonymous and file pages
  double seconds = 0;           // from fork to end
};

struct RunLimits {
  std::chrono::seconds timeout{900};
  std::filesystem::path memory_group;  // the control group that the program starts in; empty: this process's own
};

// arguments[0] is the program's path; stderr is inherited. Failed, naming the program, if it cannot be started, does
// not end in time (it is killed), or ends with anything but 0. Cancelled if this process is asked to stop meanwhile.
absl::StatusOr<MeasuredRun> RunMeasured(const std::vector<std::string>& arguments, const RunLimits& limits);

}  // namespace fedglm::bench
