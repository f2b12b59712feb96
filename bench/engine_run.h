// One run of an engine that is measured: fedglm or a peer, each a process of its own.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/measured_process.h"

namespace fedglm::bench {

struct Workload {
  std::filesystem::path model;
  int prompt_tokens = 128, answer_tokens = 16;
  int streams = 0;      // > 0: also so many answers side by side
  int repetitions = 1;  // after a first run that is not counted
};

// A program with the flags and the JSON of `fedglm bench`.
struct MeasuredEngine {
  std::vector<std::string> command;  // program and what comes before the flags
  int threads = 2;
};

// Measurements by name ("prefill_tps", "decode_tps", …), one value a run.
class Samples {
 public:
  void Add(const std::string& name, double value) { values_[name].push_back(value); }
  // Failed if the engine does not report `name`.
  absl::StatusOr<double> MedianOf(const std::string& name) const;

 private:
  std::map<std::string, std::vector<double>> values_;
};

// Adds every number of the engine's report, with the kernel's "peak_rss_bytes" in place of its own.
absl::Status RunEngine(const MeasuredEngine& engine, const Workload& workload, const RunLimits& limits,
                       Samples& samples);

}  // namespace fedglm::bench
