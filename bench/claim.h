// What a benchmark says: our figure, the peer's, the limit that the machine sets, and their ratio, all from one run.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json_forward.h"
#include "base/status.h"

namespace fedglm::bench {

struct Claim {
  std::string name;             // "prefill"; as --claims takes it
  double ours = 0, peer = 0;    // in `unit`
  std::optional<double> limit;  // in `unit`: what this machine allows at best; unknown if empty
  double ratio = 0;             // what `target` speaks of
  std::string unit;
  double target = 0;             // the ratio to reach
  bool higher_is_better = true;  // else the ratio must not be above the target

  bool Reached() const { return higher_is_better ? ratio >= target : ratio <= target; }
};

// [{"claim", "ours", "peer", "limit", "ratio", "unit"}]; "limit" is null if unknown.
Json ClaimsAsJson(const std::vector<Claim>& claims);
// A table for people; "ours" and `peer` head its columns.
std::string ClaimsAsTable(const std::vector<Claim>& claims, const std::string& peer);
// Bars of the ratios with a tick at what is to be reached, written to `path` as SVG.
absl::Status PlotClaims(const std::vector<Claim>& claims, const std::string& title, const std::string& path);

}  // namespace fedglm::bench
