#include "bench/claim.h"

#include <cstdio>

#include "base/file.h"
#include "base/json.h"
#include "bench/svg_plot.h"

namespace fedglm::bench {
namespace {

std::string Row(const char* claim, const char* ours, const char* peer, const char* limit, const char* ratio,
                const char* target, const char* unit) {
  char line[256];
  std::snprintf(line, sizeof(line), "%-20s %10s %10s %10s %7s %9s  %s\n", claim, ours, peer, limit, ratio, target,
                unit);
  return line;
}

std::string Figure(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), value >= 1000 ? "%.0f" : "%.3g", value);
  return text;
}

// Bytes are shown in GB.
double Scale(const Claim& claim) { return claim.unit == "bytes" ? 1e-9 : 1; }

}  // namespace

Json ClaimsAsJson(const std::vector<Claim>& claims) {
  Json list = Json::array();
  for (const Claim& claim : claims) {
    list.push_back({{"claim", claim.name},
                    {"ours", claim.ours},
                    {"peer", claim.peer},
                    {"limit", claim.limit ? Json(*claim.limit) : Json(nullptr)},
                    {"ratio", claim.ratio},
                    {"unit", claim.unit}});
  }
  return list;
}

std::string ClaimsAsTable(const std::vector<Claim>& claims, const std::string& peer) {
  std::string table = Row("claim", "ours", peer.c_str(), "limit", "ratio", "to reach", "unit");
  for (const Claim& claim : claims) {
    const double scale = Scale(claim);
    const std::string target = (claim.higher_is_better ? ">= " : "<= ") + Figure(claim.target);
    table += Row(claim.name.c_str(), Figure(claim.ours * scale).c_str(), Figure(claim.peer * scale).c_str(),
                 claim.limit ? Figure(*claim.limit * scale).c_str() : "-", Figure(claim.ratio).c_str(), target.c_str(),
                 ((claim.unit == "bytes" ? "GB" : claim.unit) + (claim.Reached() ? "" : "  (not reached)")).c_str());
  }
  return table;
}

absl::Status PlotClaims(const std::vector<Claim>& claims, const std::string& title, const std::string& path) {
  BarPanel higher{title + ": more is better", "ratio (tick: to reach)", {}, 1.0};
  BarPanel lower{title + ": less is better", "ratio (tick: to reach)", {}, 1.0};
  for (const Claim& claim : claims) {
    (claim.higher_is_better ? higher : lower).bars.push_back({claim.name, claim.ratio, claim.target});
  }
  std::vector<Panel> panels;
  if (!higher.bars.empty()) panels.emplace_back(std::move(higher));
  if (!lower.bars.empty()) panels.emplace_back(std::move(lower));
  return WriteFileAtomically(path, SvgDocument(panels));
}

}  // namespace fedglm::bench
