// The server of a soak: `fedglm serve` as a process of its own, in a control group with a memory limit where this
// process may make one, and what it shows of itself: /proc, /metrics, its log.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/status.h"
#include "bench/memory_group.h"

namespace fedglm::soak {

struct ServerOptions {
  std::filesystem::path program, model;
  std::filesystem::path folder;  // for its log; there before the start
  uint64_t memory_budget = 0;    // bytes
  int64_t context = 1024;
  std::vector<std::string> arguments;  // further ones
};

struct ProcessState {
  uint64_t rss = 0, anonymous = 0;  // bytes
  int64_t threads = 0, descriptors = 0;
};

// What the log has said since it was last read.
struct LogNews {
  std::vector<double> refusal_seconds;      // as the server took them: from a request's head read to its refusal made
  std::map<std::string, int64_t> refusals;  // by reason
  int highest_pressure = 0;
  std::vector<std::string> errors;  // lines of level error
};

// One thread's.
class ServerProcess {
 public:
  // Waits until it listens. Failed, with the end of its log, if it does not.
  static absl::StatusOr<ServerProcess> Start(const ServerOptions& options);

  int port() const { return port_; }
  bool Running() { return process_.Running(); }
  // Failed if it has ended.
  absl::StatusOr<ProcessState> State() const;
  absl::StatusOr<LogNews> ReadLog();
  std::string EndOfLog() const;
  // A value of /metrics, with its labels as they stand there. Failed if there is none.
  absl::StatusOr<double> Metric(const std::string& name) const;
  // Bytes of the memory budget by account.
  absl::StatusOr<std::map<std::string, uint64_t>> Accounts() const;
  void Signal(int number) { process_.Signal(number); }
  // SIGTERM; its exit status.
  int Stop();

  // The control group's folder; empty, and why, if there is none.
  std::filesystem::path group() const { return group_ ? group_->folder() : std::filesystem::path(); }
  const std::string& why_no_group() const { return why_no_group_; }
  uint64_t group_limit() const { return group_limit_; }

 private:
  absl::StatusOr<std::string> Metrics() const;
  ServerProcess(Process process, std::optional<bench::MemoryGroup> group, std::filesystem::path log)
      : group_(std::move(group)), process_(std::move(process)), log_(std::move(log)) {}

  std::optional<bench::MemoryGroup> group_;  // removed after the process has ended
  Process process_;
  std::filesystem::path log_;
  std::string why_no_group_;
  uint64_t group_limit_ = 0;
  std::streamoff log_read_ = 0;
  int port_ = 0, pressure_ = 0;
};

}  // namespace fedglm::soak
