// What the federation is compared with: adapters trained without it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/demo/demo_federation.h"

namespace fedglm::cli {

struct Baselines {
  std::vector<std::filesystem::path> local;  // one adapter folder a site: trained on its own records alone
  std::filesystem::path pooled;              // trained on all records in one place
};

// All start from the federation's initial adapter, with the same optimizer and schedule, for as many steps as a site
// takes in all rounds. A step of a site is as in the federation; a step of the pooled adapter is on as many tokens as
// the steps of all sites together. Runs several trainers at once, one a core.
absl::StatusOr<Baselines> TrainBaselines(const DemoPlan& plan, const std::vector<DemoSite>& sites, bool quiet);

}  // namespace fedglm::cli
