#include "tests/soak/server_process.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/file.h"
#include "tests/soak/http_client.h"
#include "tests/soak/load.h"

namespace fedglm::soak {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStartLimit{60'000}, kStartPoll{20}, kStopGrace{20'000}, kMetricsLimit{10'000};
constexpr std::string_view kListens = "serving on http://127.0.0.1:";
constexpr size_t kLogShown = 3000;
constexpr uint64_t kLeastBeside = 64 << 20;

// The value of "name=" in an access line; empty if there is none.
std::string FieldOf(const std::string& line, const std::string& name) {
  const size_t at = line.find(" " + name + "=");
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size() + 2;
  return line.substr(begin, line.find(' ', begin) - begin);
}

void ReadLine(const std::string& line, int& pressure, LogNews& news) {
  if (line.find(" fedglm E ") != std::string::npos) news.errors.push_back(line);
  if (const size_t at = line.find("memory pressure "); at != std::string::npos) {
    pressure = std::atoi(line.c_str() + at + 16);
  }
  const std::string reason = FieldOf(line, "refused");
  // Who has left is refused nothing, however late the server notices.
  if (reason.empty() || line.find(" broken_off=true") != std::string::npos) return;
  if (line.find(std::string(" request=") + kUntimedId) != std::string::npos) return;
  ++news.refusals[reason.substr(1, reason.size() - 2)];  // it is quoted
  news.refusal_seconds.push_back(std::strtod(FieldOf(line, "seconds").c_str(), nullptr));
}

}  // namespace

absl::StatusOr<ServerProcess> ServerProcess::Start(const ServerOptions& options) {
  // A server without --memory-budget leaves a sixteenth of its group for what no account knows: 256 MiB of 4 GiB. Of a
  // group for a small model that would not hold the requests themselves (bodies, up to 8 MiB each) and their threads.
  const uint64_t limit = options.memory_budget + std::max(options.memory_budget / 15, kLeastBeside);
  absl::StatusOr<bench::MemoryGroup> group = bench::MemoryGroup::Create(limit);
  const std::filesystem::path folder = group.ok() ? group->folder() : std::filesystem::path();
  SpawnOptions spawn;
  spawn.arguments = {options.program,
                     "serve",
                     "-m",
                     options.model,
                     "--listen",
                     "127.0.0.1:0",
                     "--memory-budget",
                     std::to_string(options.memory_budget),
                     "--context",
                     std::to_string(options.context)};
  spawn.arguments.insert(spawn.arguments.end(), options.arguments.begin(), options.arguments.end());
  spawn.arguments = bench::InMemoryGroup(folder, std::move(spawn.arguments));
  spawn.stderr_file = options.folder / "server.log";
  FEDGLM_ASSIGN_OR_RETURN(Process process, Process::Spawn(spawn));
  std::string why_no_group = group.ok() ? "" : Message(group.status());
  std::optional<bench::MemoryGroup> owned;
  if (group.ok()) owned.emplace(*std::move(group));
  ServerProcess server(std::move(process), std::move(owned), spawn.stderr_file);
  server.why_no_group_ = std::move(why_no_group);
  server.group_limit_ = server.group_ ? limit : 0;
  for (milliseconds waited{0}; server.port_ == 0; waited += kStartPoll) {
    if (!server.Running() || waited > kStartLimit) {
      return FailedError("the server does not start:\n" + server.EndOfLog());
    }
    std::this_thread::sleep_for(kStartPoll);
    FEDGLM_ASSIGN_OR_RETURN(const std::string log, ReadFile(server.log_));
    const size_t at = log.find(kListens);
    if (at != std::string::npos) server.port_ = std::atoi(log.c_str() + at + kListens.size());
  }
  return server;
}

absl::StatusOr<ProcessState> ServerProcess::State() const {
  const std::filesystem::path folder = "/proc/" + std::to_string(process_.pid());
  ProcessState state;
  std::ifstream status(folder / "status");
  for (std::string line; std::getline(status, line);) {
    const auto kibibytes = [&](const char* name, uint64_t& value) {
      const size_t length = std::string_view(name).size();
      if (line.rfind(name, 0) == 0) value = std::strtoull(line.c_str() + length, nullptr, 10) * 1024;
    };
    kibibytes("VmRSS:", state.rss);
    kibibytes("RssAnon:", state.anonymous);
    if (line.rfind("Threads:", 0) == 0) state.threads = std::atoll(line.c_str() + 8);
  }
  std::error_code error;
  std::filesystem::directory_iterator entry(folder / "fd", error), end;
  for (; !error && entry != end; entry.increment(error)) ++state.descriptors;
  if (state.rss == 0) return FailedError("the server has ended");
  return state;
}

absl::StatusOr<LogNews> ServerProcess::ReadLog() {
  std::ifstream log(log_);
  if (!log.seekg(log_read_)) return FailedError(log_.string() + " cannot be read");
  LogNews news;
  news.highest_pressure = pressure_;
  for (std::string line; std::getline(log, line) && !log.eof(); log_read_ = log.tellg()) {
    ReadLine(line, pressure_, news);
    news.highest_pressure = std::max(news.highest_pressure, pressure_);
  }
  return news;
}

std::string ServerProcess::EndOfLog() const {
  const absl::StatusOr<std::string> log = ReadFile(log_);
  return log.ok() ? log->substr(log->size() - std::min(log->size(), kLogShown)) : Message(log.status());
}

absl::StatusOr<std::string> ServerProcess::Metrics() const {
  FEDGLM_ASSIGN_OR_RETURN(HttpConnection connection, HttpConnection::Open(port_));
  FEDGLM_RETURN_IF_ERROR(connection.Send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
  FEDGLM_ASSIGN_OR_RETURN(HttpAnswer answer, connection.Receive(kMetricsLimit));
  return std::move(answer.body);
}

absl::StatusOr<double> ServerProcess::Metric(const std::string& name) const {
  FEDGLM_ASSIGN_OR_RETURN(const std::string metrics, Metrics());
  const std::string line = "\n" + name + " ";
  const size_t at = metrics.find(line);
  if (at == std::string::npos) return FailedError("/metrics has no " + name);
  return std::strtod(metrics.c_str() + at + line.size(), nullptr);
}

absl::StatusOr<std::map<std::string, uint64_t>> ServerProcess::Accounts() const {
  FEDGLM_ASSIGN_OR_RETURN(const std::string metrics, Metrics());
  const std::string begin = "\nfedglm_memory_bytes{account=\"", middle = "\"} ";
  std::map<std::string, uint64_t> accounts;
  for (size_t at = metrics.find(begin); at != std::string::npos; at = metrics.find(begin, at + 1)) {
    const size_t name = at + begin.size(), end = metrics.find(middle, name);
    if (end == std::string::npos) break;
    accounts[metrics.substr(name, end - name)] = std::strtoull(metrics.c_str() + end + middle.size(), nullptr, 10);
  }
  return accounts;
}

int ServerProcess::Stop() { return process_.Terminate(kStopGrace); }

}  // namespace fedglm::soak
