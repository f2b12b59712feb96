// fedglm federation watch: a line whenever something has changed.
#include <thread>
#include <tuple>
#include <vector>

#include "base/process.h"
#include "cli/federation/commands.h"
#include "cli/federation/output.h"

namespace fedglm::cli {
namespace {

constexpr auto kPoll = std::chrono::seconds(1);
constexpr auto kStopPoll = std::chrono::milliseconds(50);

struct WatchOptions : AdministrationOptions {
  int64_t seconds = 0;
};

// What a line is printed for.
using Seen = std::tuple<std::string, int64_t, int64_t, int64_t, int64_t, std::vector<std::string>, std::string>;
Seen SeenIn(const v1::FederationStatus& status) {
  return {status.state(),
          status.round(),
          status.rounds(),
          status.updates_received(),
          status.updates_expected(),
          {status.missing().begin(), status.missing().end()},
          status.adapter_sha256()};
}

void PrintLine(const v1::FederationStatus& status, bool json) {
  const int64_t now = UnixMilliseconds(Clock::System().Now());
  if (json) {
    Print({{"version", 1},
           {"unix_ms", now},
           {"state", status.state()},
           {"round", status.round()},
           {"rounds", status.rounds()},
           {"updates_received", status.updates_received()},
           {"updates_expected", status.updates_expected()},
           {"missing", std::vector<std::string>(status.missing().begin(), status.missing().end())},
           {"adapter_sha256", status.adapter_sha256()}});
  } else {
    std::printf("%s  round %lld of %lld  %-11s  updates %lld of %lld  missing %s\n", Time(now).c_str(),
                static_cast<long long>(status.round()), static_cast<long long>(status.rounds()), status.state().c_str(),
                static_cast<long long>(status.updates_received()), static_cast<long long>(status.updates_expected()),
                Joined(status.missing()).c_str());
  }
  std::fflush(stdout);
}

// An aggregator that never answered and refuses is not one to wait for; after that it may be any state of a restart.
absl::Status Watch(const WatchOptions& options, AdministrationClient& client) {
  const auto begin = std::chrono::steady_clock::now();
  const auto is_over = [&](std::chrono::steady_clock::time_point now) {
    return StopRequested() || (options.seconds > 0 && now >= begin + std::chrono::seconds(options.seconds));
  };
  std::optional<Seen> seen;
  bool away = false;
  while (true) {
    const auto asked = std::chrono::steady_clock::now();
    const absl::StatusOr<v1::FederationStatus> status = client.Status();
    if (!status.ok()) {
      if (!seen && ExitCodeOf(status.status()) != ExitCode::kUnreachable) return status.status();
      if (!away) std::fprintf(stderr, "%s; trying again\n", Message(status.status()).c_str());
      away = true;
      client.Redial();
    } else {
      if (away) std::fprintf(stderr, "the aggregator answers again\n");
      away = false;
      if (!seen || *seen != SeenIn(*status)) PrintLine(*status, options.json);
      seen = SeenIn(*status);
    }
    for (auto now = std::chrono::steady_clock::now(); !is_over(now) && now < asked + kPoll;
         now = std::chrono::steady_clock::now()) {
      std::this_thread::sleep_for(kStopPoll);
    }
    if (std::ferror(stdout) != 0 || is_over(std::chrono::steady_clock::now())) return absl::OkStatus();
  }
}

}  // namespace

void AddWatch(CommandLine& line, Command group) {
  auto options = std::make_shared<WatchOptions>();
  Command command =
      AddAdministrationCommand(line, group, "watch", "a line whenever something has changed, until Ctrl-C", *options,
                               [options](AdministrationClient& client) { return Watch(*options, client); });
  command.Add("--seconds", options->seconds, "how long; 0: until Ctrl-C").ShowDefault().Between(0, 1 << 30);
}

}  // namespace fedglm::cli
