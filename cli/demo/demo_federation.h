// A real federation on this machine: an aggregator and a node for each site, processes of their own, enrolled with
// one-time tokens, over mutual TLS on loopback.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "adapter/training_plan.h"
#include "base/process.h"
#include "base/status.h"
#include "cli/demo/demo_sites.h"
#include "client/administration_client.h"

namespace fedglm::cli {

struct DemoPlan {
  std::filesystem::path model;
  std::filesystem::path initial_adapter;  // folder
  std::filesystem::path work_dir;
  std::string mode = "freeze-a";
  int64_t rounds = 6;
  TrainingPlan training;  // what a site does in a round; its seed is also that of records and adapters
  int threads_per_site = 1;
};

class DemoFederation {
 public:
  // Starts the aggregator, makes a token for each site, starts the nodes.
  static absl::StatusOr<std::unique_ptr<DemoFederation>> Start(const DemoPlan& plan, const std::vector<DemoSite>& sites,
                                                               bool quiet);
  ~DemoFederation();  // ends all processes

  // Until every site has installed the last round's adapter. Cancelled on Ctrl-C; Failed, with the last line of its
  // log, if a process ends meanwhile.
  absl::Status Watch(bool quiet);

  AdministrationClient& administration() { return *administration_; }
  // Where a node keeps the adapter that it has installed, and what it serves on.
  std::filesystem::path AdapterOf(const std::string& site) const;
  absl::StatusOr<std::string> ServingAddressOf(const std::string& site) const;

 private:
  struct Member {
    std::string name;
    Process process;
    std::filesystem::path log;
  };
  explicit DemoFederation(const DemoPlan& plan) : plan_(plan) {}
  absl::Status StartAggregator(size_t sites);
  absl::Status StartNode(const DemoSite& site);
  absl::Status StartProcess(const std::string& name, const std::string& program, const std::filesystem::path& config);
  absl::Status CheckAlive();

  const DemoPlan plan_;
  std::vector<Member> members_;
  std::vector<std::string> sites_;
  std::unique_ptr<AdministrationClient> administration_;
};

}  // namespace fedglm::cli
