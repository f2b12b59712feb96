#include "cli/demo/demo_federation.h"

#include <signal.h>

#include <algorithm>
#include <thread>

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"

namespace fedglm::cli {
namespace {

constexpr auto kStartTimeout = std::chrono::seconds(60);
constexpr auto kTick = std::chrono::milliseconds(200);
constexpr auto kGrace = std::chrono::seconds(5);

// A JSON string is a TOML basic string.
std::string Quoted(const std::string& text) { return DumpJson(Json(text)); }
std::string Quoted(const std::filesystem::path& path) { return Quoted(path.string()); }

// JSON's numbers and strings are TOML's.
std::string TrainingTable(const TrainingPlan& plan) {
  std::string text = "[training]\n";
  const Json values = ToJson(plan);
  for (const auto& [key, value] : values.items()) text += key + " = " + DumpJson(value) + "\n";
  return text;
}

std::string AggregatorConfig(const DemoPlan& plan, size_t sites, const std::filesystem::path& folder) {
  return "[federation]\nname = \"demo\"\nmode = " + Quoted(plan.mode) + "\nrounds = " + std::to_string(plan.rounds) +
         "\nmin_sites = " + std::to_string(sites) + "\nmin_updates = " + std::to_string(sites) +
         "\ninitial_adapter = " + Quoted(plan.initial_adapter) + "\n\n" + TrainingTable(plan.training) +
         "\n[server]\nlisten = \"127.0.0.1:0\"\nenrolment_listen = \"127.0.0.1:0\"\nhost_names = [\"localhost\", "
         "\"127.0.0.1\"]"
         "\nstate_dir = " +
         Quoted(folder / "state") + "\n";
}

std::string NodeConfig(const DemoPlan& plan, const DemoSite& site, const std::filesystem::path& folder) {
  return "model = " + Quoted(plan.model) + "\n\n[records]\ntrain = [" + Quoted(site.training) + "]\nheld_out = [" +
         Quoted(site.held_out) + "]\n\n[federation]\nsite = " + Quoted(site.name) +
         "\ntoken_file = " + Quoted(folder / "token") + "\n\n[node]\nstate_dir = " + Quoted(folder / "state") +
         "\n\n[serve]\nlisten = \"127.0.0.1:0\"\n\n[training]\nthreads = " + std::to_string(plan.threads_per_site) +
         "\nmicro_batch_tokens = " + std::to_string(plan.training.batch_tokens) + "\n";
}

std::string LastLine(const std::filesystem::path& file) {
  const absl::StatusOr<std::string> text = ReadFile(file);
  if (!text.ok()) return "";
  const size_t end = text->find_last_not_of("\n");
  if (end == std::string::npos) return "";
  const size_t begin = text->rfind('\n', end);
  return text->substr(begin == std::string::npos ? 0 : begin + 1,
                      end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<DemoFederation>> DemoFederation::Start(const DemoPlan& plan,
                                                                      const std::vector<DemoSite>& sites, bool quiet) {
  std::unique_ptr<DemoFederation> federation(new DemoFederation(plan));
  FEDGLM_RETURN_IF_ERROR(federation->StartAggregator(sites.size()));
  Progress progress("enrol", static_cast<int64_t>(sites.size()), quiet);
  for (const DemoSite& site : sites) {
    FEDGLM_RETURN_IF_ERROR(federation->StartNode(site));
    progress.Update(static_cast<int64_t>(federation->sites_.size()), site.name);
  }
  progress.Finish("a certificate for each site");
  return federation;
}

DemoFederation::~DemoFederation() {
  // All are asked first, then waited for: nodes before the aggregator they talk to.
  for (Member& member : members_) member.process.Signal(SIGTERM);
  for (auto member = members_.rbegin(); member != members_.rend(); ++member) member->process.Terminate(kGrace);
}

absl::Status DemoFederation::StartProcess(const std::string& name, const std::string& program,
                                          const std::filesystem::path& config) {
  SpawnOptions options;
  options.arguments = {(ExecutableDirectory() / program).string(), "--config", config.string()};
  const std::filesystem::path log = config.parent_path() / "log";
  options.stdout_file = options.stderr_file = log;
  options.own_process_group = true;  // Ctrl-C is ours to pass on
  FEDGLM_ASSIGN_OR_RETURN(Process process, Process::Spawn(options));
  members_.push_back({name, std::move(process), log});
  return absl::OkStatus();
}

absl::Status DemoFederation::CheckAlive() {
  if (StopRequested()) return CancelledError("stopped");
  for (Member& member : members_) {
    if (member.process.Running()) continue;
    const int status = member.process.Wait();
    if (status > 128) return FailedError(member.name + " was killed by signal " + std::to_string(status - 128));
    return FailedError(member.name + " ended: " + LastLine(member.log));
  }
  return absl::OkStatus();
}

absl::Status DemoFederation::StartAggregator(size_t sites) {
  const std::filesystem::path folder = plan_.work_dir / "aggregator";
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "aggregator.toml", AggregatorConfig(plan_, sites, folder), 0600));
  FEDGLM_RETURN_IF_ERROR(StartProcess("the aggregator", "fedglm-aggregator", folder / "aggregator.toml"));
  const auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
  while (!std::filesystem::exists(folder / "state" / "addresses.json")) {
    FEDGLM_RETURN_IF_ERROR(CheckAlive());
    if (std::chrono::steady_clock::now() > deadline) return FailedError("the aggregator does not start");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  FEDGLM_ASSIGN_OR_RETURN(administration_, AdministrationClient::Open(folder / "state" / "admin", ""));
  return absl::OkStatus();
}

absl::Status DemoFederation::StartNode(const DemoSite& site) {
  const std::filesystem::path folder = plan_.work_dir / "nodes" / site.name;
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  FEDGLM_ASSIGN_OR_RETURN(const std::string token, administration_->CreateToken(site.name, std::chrono::hours(1)));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "token", token + "\n", 0600));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "node.toml", NodeConfig(plan_, site, folder), 0600));
  FEDGLM_RETURN_IF_ERROR(StartProcess("node " + site.name, "fedglm-node", folder / "node.toml"));
  // The site is a member once its certificate is there.
  const auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
  while (!std::filesystem::exists(folder / "state" / "identity" / "membership.json")) {
    FEDGLM_RETURN_IF_ERROR(CheckAlive());
    if (std::chrono::steady_clock::now() > deadline) return FailedError("node " + site.name + " does not enrol");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  sites_.push_back(site.name);
  return absl::OkStatus();
}

absl::Status DemoFederation::Watch(bool quiet) {
  const int64_t sites = static_cast<int64_t>(sites_.size());
  Progress progress("federation", plan_.rounds * sites, quiet);
  while (true) {
    FEDGLM_RETURN_IF_ERROR(CheckAlive());
    FEDGLM_ASSIGN_OR_RETURN(const v1::FederationStatus status, administration_->Status());
    FEDGLM_ASSIGN_OR_RETURN(const v1::ListRoundsResponse rounds, administration_->Rounds());
    double loss = 0;
    int64_t done = 0;
    for (const v1::RoundSummary& round : rounds.rounds()) {
      done += round.accepted();
      if (round.mean_evaluation_loss() > 0) loss = round.mean_evaluation_loss();
    }
    char note[96];
    std::snprintf(note, sizeof(note), "round %lld of %lld, %s%s", static_cast<long long>(status.round()),
                  static_cast<long long>(status.rounds()), status.state().c_str(),
                  loss > 0 ? (", held-out loss " + std::to_string(loss).substr(0, 6)).c_str() : "");
    progress.Update(done, note);
    if (status.state() == "finished") {
      FEDGLM_ASSIGN_OR_RETURN(const v1::ListNodesResponse nodes, administration_->Nodes());
      const bool installed = std::all_of(nodes.nodes().begin(), nodes.nodes().end(), [&](const v1::NodeSummary& node) {
        return node.installed_round() == plan_.rounds;
      });
      if (installed) {
        progress.Finish(note);
        return absl::OkStatus();
      }
    }
    std::this_thread::sleep_for(kTick);
  }
}

std::filesystem::path DemoFederation::AdapterOf(const std::string& site) const {
  return plan_.work_dir / "nodes" / site / "state" / "adapter";
}

absl::StatusOr<std::string> DemoFederation::ServingAddressOf(const std::string& site) const {
  const std::filesystem::path file = plan_.work_dir / "nodes" / site / "state" / "addresses.json";
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, 1 << 16));
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(text, file.string()));
  return RequireString(json, "serve");
}

}  // namespace fedglm::cli
