// A federation of the real programs in a folder of its own: an aggregator and nodes, each a process, enrolled with
// tokens, over mutual TLS on loopback. What the tests of this folder do things to.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "base/process.h"
#include "base/status.h"

namespace fedglm {

struct FederationSettings {
  std::filesystem::path model;
  std::filesystem::path initial_adapter;
  std::string mode = "freeze-a";
  int rounds = 2;
  int min_sites = 2;
  std::string federation;                  // further lines of [federation]
  std::string training;                    // lines of [training]
  std::string advertise = "127.0.0.1";     // the host that sites dial
  std::filesystem::path aggregator_state;  // default: a folder beside its configuration
  std::string site_lines;                  // further tables of the sites' configurations
};

// One thread's. When destroyed, what runs is killed.
class Federation {
 public:
  Federation(std::filesystem::path folder, FederationSettings settings)
      : folder_(std::move(folder)), settings_(std::move(settings)) {}

  // The first start takes free ports, which later ones keep.
  absl::Status StartAggregator();
  // Writes its records (JSON Lines) and its configuration, and makes a token.
  absl::Status AddSite(const std::string& site, const std::string& records, const std::string& held_out);
  absl::Status WriteToken(const std::string& site, const std::string& token);
  absl::StatusOr<std::string> MakeToken(const std::string& site) const;
  absl::Status StartNode(const std::string& site);

  Process& aggregator() { return *aggregator_; }
  Process& node(const std::string& site) { return nodes_.at(site); }
  std::string federation_port() const { return federation_port_; }
  std::string enrolment_port() const { return enrolment_port_; }

  // What a program says: stdout and stderr of all its lives.
  std::string AggregatorLog() const { return LogOf(AggregatorFolder()); }
  std::string NodeLog(const std::string& site) const { return LogOf(SiteFolder(site)); }
  std::string AllLogs() const;  // for a failed test

  std::filesystem::path AggregatorFolder() const { return folder_ / "aggregator"; }
  std::filesystem::path AggregatorState() const;
  std::filesystem::path SiteFolder(const std::string& site) const { return folder_ / "sites" / site; }
  std::filesystem::path SiteState(const std::string& site) const { return SiteFolder(site) / "state"; }

  // The round whose adapter the site has installed; -1: none.
  int64_t InstalledRound(const std::string& site) const;
  // Until every site has installed that round's adapter. Failed, with all logs, after two minutes, or if one that was
  // started has ended.
  absl::Status WaitForRound(int64_t round);
  // SIGTERM to all, and their ends.
  void Stop();
  absl::StatusOr<Adapter> InstalledAdapter(const std::string& site) const;

 private:
  static std::string LogOf(const std::filesystem::path& folder);
  absl::Status WriteAggregatorConfig() const;
  absl::StatusOr<Process> Start(const std::string& program, const std::filesystem::path& config) const;

  const std::filesystem::path folder_;
  const FederationSettings settings_;
  std::string federation_port_ = "0", enrolment_port_ = "0";
  std::vector<std::string> sites_;
  std::optional<Process> aggregator_;
  std::map<std::string, Process> nodes_;
};

// A JSON string is a TOML basic string.
std::string Quoted(const std::filesystem::path& path);

// {"prompt":…,"completion":…} and a line's end.
std::string RecordLine(const std::string& prompt, const std::string& completion);

}  // namespace fedglm
