#include "tests/integration/federation.h"

#include <signal.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/integration/processes.h"

namespace fedglm {
namespace {

constexpr auto kStart = std::chrono::seconds(60);
constexpr auto kRound = std::chrono::minutes(2);
constexpr auto kEnd = std::chrono::seconds(10);

std::string PortOf(const std::string& address) { return address.substr(address.rfind(':') + 1); }

}  // namespace

std::string Quoted(const std::filesystem::path& path) { return DumpJson(Json(path.string())); }

std::string RecordLine(const std::string& prompt, const std::string& completion) {
  return DumpJson(Json{{"prompt", prompt}, {"completion", completion}}) + "\n";
}

std::filesystem::path Federation::AggregatorState() const {
  return settings_.aggregator_state.empty() ? AggregatorFolder() / "state" : settings_.aggregator_state;
}

std::string Federation::LogOf(const std::filesystem::path& folder) { return TextOf(folder / "log"); }

std::string Federation::AllLogs() const {
  std::string all = "\naggregator:\n" + AggregatorLog();
  for (const std::string& site : sites_) all += site + ":\n" + NodeLog(site);
  return all;
}

absl::Status Federation::WriteAggregatorConfig() const {
  const std::string text =
      "[federation]\nname = \"test\"\nmode = " + Quoted(settings_.mode) +
      "\nrounds = " + std::to_string(settings_.rounds) + "\nmin_sites = " + std::to_string(settings_.min_sites) +
      "\nmin_updates = " + std::to_string(settings_.min_sites) +
      "\ninitial_adapter = " + Quoted(settings_.initial_adapter) + "\n" + settings_.federation + "\n[training]\n" +
      settings_.training + "\n[server]\nlisten = \"127.0.0.1:" + federation_port_ +
      "\"\nenrolment_listen = \"127.0.0.1:" + enrolment_port_ +
      "\"\nhost_names = [\"127.0.0.1\", \"127.0.0.2\"]\nadvertise = " + Quoted(settings_.advertise) +
      "\nstate_dir = " + Quoted(AggregatorState()) + "\n";
  return WriteFileAtomically(AggregatorFolder() / "aggregator.toml", text);
}

absl::StatusOr<Process> Federation::Start(const std::string& program, const std::filesystem::path& config) const {
  SpawnOptions options = OptionsFor(program, {"--config", config.string()}, folder_);
  options.stdout_file = options.stderr_file = config.parent_path() / "log";
  return Process::Spawn(options);
}

absl::Status Federation::StartAggregator() {
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(AggregatorFolder()));
  FEDGLM_RETURN_IF_ERROR(WriteAggregatorConfig());
  const std::filesystem::path addresses = AggregatorState() / "addresses.json";
  std::error_code ignored;
  std::filesystem::remove(addresses, ignored);
  FEDGLM_ASSIGN_OR_RETURN(aggregator_, Start("fedglm-aggregator", AggregatorFolder() / "aggregator.toml"));
  if (!WaitUntil([&] { return std::filesystem::exists(addresses) || !aggregator_->Running(); }, kStart) ||
      !aggregator_->Running()) {
    return FailedError("the aggregator does not start: " + AggregatorLog());
  }
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(addresses));
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(text, addresses.string()));
  FEDGLM_ASSIGN_OR_RETURN(const std::string federation, RequireString(json, "federation"));
  FEDGLM_ASSIGN_OR_RETURN(const std::string enrolment, RequireString(json, "enrolment"));
  federation_port_ = PortOf(federation);
  enrolment_port_ = PortOf(enrolment);
  return WriteAggregatorConfig();
}

absl::StatusOr<std::string> Federation::MakeToken(const std::string& site) const {
  const Outcome made = RunProgram(
      "fedglm-aggregator", {"--config", AggregatorFolder() / "aggregator.toml", "--create-token", site}, folder_);
  if (made.status != 0) return FailedError("no token for " + site + ": " + made.err);
  return made.out;
}

absl::Status Federation::WriteToken(const std::string& site, const std::string& token) {
  return WriteFileAtomically(SiteFolder(site) / "token", token, 0600);
}

absl::Status Federation::AddSite(const std::string& site, const std::string& records, const std::string& held_out) {
  const std::filesystem::path folder = SiteFolder(site);
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder / "records"));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "records" / "train.jsonl", records));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "records" / "held-out.jsonl", held_out));
  const std::string config =
      "model = " + Quoted(settings_.model) + "\n[records]\ntrain = [\"records/train.jsonl\"]\n" +
      (held_out.empty() ? "" : "held_out = [\"records/held-out.jsonl\"]\n") + "[federation]\nsite = \"" + site +
      "\"\ntoken_file = \"token\"\n[node]\nstate_dir = \"state\"\n[training]\nthreads = 1\n" + settings_.site_lines;
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "node.toml", config));
  FEDGLM_ASSIGN_OR_RETURN(const std::string token, MakeToken(site));
  sites_.push_back(site);
  return WriteToken(site, token);
}

absl::Status Federation::StartNode(const std::string& site) {
  FEDGLM_ASSIGN_OR_RETURN(Process process, Start("fedglm-node", SiteFolder(site) / "node.toml"));
  nodes_.erase(site);
  nodes_.emplace(site, std::move(process));
  return absl::OkStatus();
}

int64_t Federation::InstalledRound(const std::string& site) const {
  const absl::StatusOr<Json> json = ParseJson(TextOf(SiteState(site) / "installed.json"), "installed.json");
  return json.ok() ? RequireInteger(*json, "round").value_or(-1) : -1;
}

absl::Status Federation::WaitForRound(int64_t round) {
  std::string ended;
  const bool there = WaitUntil(
      [&] {
        if (!aggregator_->Running()) ended = "the aggregator";
        for (auto& [site, process] : nodes_) {
          if (!process.Running()) ended = site;
        }
        if (!ended.empty()) return true;
        for (const std::string& site : sites_) {
          if (InstalledRound(site) < round) return false;
        }
        return true;
      },
      kRound);
  if (!ended.empty()) return FailedError(ended + " has ended:" + AllLogs());
  return there ? absl::OkStatus()
               : FailedError("round " + std::to_string(round) + " does not come to its end:" + AllLogs());
}

void Federation::Stop() {
  for (auto& [site, process] : nodes_) process.Signal(SIGTERM);
  for (auto& [site, process] : nodes_) process.Terminate(kEnd);
  if (aggregator_) aggregator_->Terminate(kEnd);
}

absl::StatusOr<Adapter> Federation::InstalledAdapter(const std::string& site) const {
  return LoadAdapter(SiteState(site) / "adapter");
}

}  // namespace fedglm
