// What the demo found: a table for people, the same as JSON for programs.
#pragma once

#include <string>
#include <vector>

#include "base/json_forward.h"

namespace fedglm::cli {

// Losses are means over answer tokens, natural logarithm, of held-out records.
struct DemoLosses {
  double base = 0, local = 0, federated = 0, pooled = 0;
};

struct DemoReport {
  struct Site {
    std::string name;
    int64_t records = 0;
    uint64_t bytes_sent = 0;  // over all rounds
    DemoLosses losses;        // on its own held-out records; local: its own site-only adapter
  };
  std::vector<Site> sites;
  DemoLosses overall;      // on all sites' records together; local: the best of the site-only adapters there
  std::string best_local;  // whose that is
  std::vector<double> losses_by_round;  // of the federated adapter, from round 0 on
  int64_t rounds = 0;
  double seconds = 0;
  std::string asked_at, question, expected, answer_before, answer_after;

  // How much of the distance between base and pooled the federation closes: 1 is all of it.
  double ClosedDistance() const;
};

std::string FormatTable(const DemoReport& report);
Json ToJson(const DemoReport& report);

}  // namespace fedglm::cli
