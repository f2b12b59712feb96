#include "bench/federation/server_process.h"

#include <unistd.h>

#include <sstream>
#include <thread>
#include <utility>

#include "base/file.h"
#include "base/json.h"

namespace fedglm::bench {
namespace {

// One line of /proc/PID/…; the values after `key`.
absl::StatusOr<std::string> ProcLine(pid_t pid, const std::string& file, const std::string& key) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 16));
  const size_t at = text.find(key);
  if (at == std::string::npos) return FailedError(path + ": no '" + key + "'");
  return text.substr(at + key.size(), text.find('\n', at) - at - key.size());
}

}  // namespace

absl::StatusOr<ServerProcess> ServerProcess::Start(std::vector<std::string> arguments,
                                                   const std::filesystem::path& addresses) {
  SpawnOptions spawn;
  spawn.arguments = std::move(arguments);
  ServerProcess server;
  FEDGLM_ASSIGN_OR_RETURN(Process process, Process::Spawn(spawn));
  server.process_ = std::make_unique<Process>(std::move(process));
  for (int tries = 0; tries < 600 && server.process_->Running() && !StopRequested(); ++tries) {
    if (const absl::StatusOr<std::string> text = ReadFile(addresses, 1 << 16); text.ok()) {
      FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(*text, addresses.string()));
      FEDGLM_ASSIGN_OR_RETURN(server.address_, RequireString(json, "federation"));
      return server;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return FailedError(spawn.arguments.front() + " does not start");
}

absl::StatusOr<double> ServerProcess::CpuSeconds() const {
  // utime and stime are the 12th and 13th value after the name (proc(5)).
  FEDGLM_ASSIGN_OR_RETURN(const std::string line, ProcLine(process_->pid(), "stat", ") "));
  std::istringstream values(line);
  std::string skipped;
  for (int i = 0; i < 11; ++i) values >> skipped;
  double user = 0, system = 0;
  values >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

absl::StatusOr<uint64_t> ServerProcess::PeakRssBytes() const {
  FEDGLM_ASSIGN_OR_RETURN(const std::string kib, ProcLine(process_->pid(), "status", "VmHWM:"));
  return std::stoull(kib) << 10;
}

}  // namespace fedglm::bench
