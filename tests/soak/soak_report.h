// What a soak has found, and whether that is good enough.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json_forward.h"
#include "tests/soak/load.h"
#include "tests/soak/server_process.h"

namespace fedglm::soak {

struct Checkpoint {
  double minutes = 0;                        // after the start
  ProcessState state;                        // without any load, all layers in their place
  std::map<std::string, uint64_t> accounts;  // bytes of the memory budget
};

struct SoakReport {
  std::string model;
  double minutes = 0;
  int streams = 0;
  uint64_t seed = 0, memory_budget = 0, group_limit = 0;  // 0: no group
  std::string why_no_group;
  bool server_alive = false;
  int exit_status = -1;  // after SIGTERM
  LoadResults load;
  std::vector<double> server_refusal_seconds;
  std::map<std::string, int64_t> refusals;  // by reason, as the server counts them
  std::vector<std::string> server_errors;   // of its log
  std::vector<Checkpoint> checkpoints;      // the first after the warm-up
  struct Sample {
    double minutes;
    ProcessState state;
    int pressure;
  };
  std::vector<Sample> samples;  // once a second
  int64_t adapter_swaps = 0, hogs = 0, hogs_killed = 0;
  double generated_tokens = 0, cancelled = 0;
  double others_share = 0;  // of the processors' time, that went to other programs

  int HighestPressure() const;
  double AnsweredPart() const;  // of the requests that the engine answered or had no room for
};

struct Verdict {
  std::string what, found, limit;
  bool holds = false;
};

// From this length on the client's own times are held against the bar.
inline constexpr double kWholeSoakMinutes = 10;
inline constexpr int kUnpinningLevel = 3;  // of the memory ladder: other programs' need is felt
std::vector<Verdict> Judge(const SoakReport& report);

std::string ReportText(const SoakReport& report, const std::vector<Verdict>& verdicts);
Json ReportJson(const SoakReport& report, const std::vector<Verdict>& verdicts);
std::string ReportSvg(const SoakReport& report);

}  // namespace fedglm::soak
