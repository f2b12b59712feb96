// fedglm-aggregator --config FILE: runs until Ctrl-C or SIGTERM. With --create-token SITE it prints a one-time token
// for a new site (the aggregator may be running or not) and ends. `init` writes a configuration file to begin with.
#include <chrono>
#include <cstdio>
#include <thread>

#include "aggregator/aggregator_server.h"
#include "base/command_line.h"
#include "base/file.h"
#include "base/heap/heap.h"
#include "base/log.h"
#include "base/process.h"

namespace fedglm {
namespace {

struct Arguments {
  std::string config, token_for;
  std::filesystem::path folder = ".";
  int64_t token_hours = 24;
  bool create_token = false;
};

absl::Status Init(const std::filesystem::path& folder) {
  const std::string file = (folder / "aggregator.toml").lexically_normal().string();
  FEDGLM_RETURN_IF_ERROR(WriteNewFile(file, AggregatorOptions::FirstFile()));
  std::fprintf(stderr, "%s is written. Read it through; then, with the model once and here:\n", file.c_str());
  std::fprintf(stderr, "  fedglm adapter init -m model.gguf --out %s\n  fedglm-aggregator --config %s\n",
               (folder / "first-adapter").lexically_normal().c_str(), file.c_str());
  return absl::OkStatus();
}

absl::Status Run(const Arguments& arguments) {
  if (arguments.config.empty()) return UsageError("--config is required (see fedglm-aggregator --help)");
  FEDGLM_ASSIGN_OR_RETURN(Configuration configuration, Configuration::Load(arguments.config));
  FEDGLM_ASSIGN_OR_RETURN(const AggregatorOptions options, AggregatorOptions::Read(configuration));
  if (arguments.create_token) {
    FEDGLM_ASSIGN_OR_RETURN(const std::string token, CreateTokenOffline(options, arguments.token_for,
                                                                        std::chrono::hours(arguments.token_hours)));
    std::printf("%s\n", token.c_str());
    return absl::OkStatus();
  }
  FEDGLM_RETURN_IF_ERROR(InitializeLogging(options.log));
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<AggregatorServer> server, AggregatorServer::Start(options));
  for (int64_t seen = 0; !StopRequested(); std::this_thread::sleep_for(std::chrono::milliseconds(50))) {
    if (ReloadRequests() == seen) continue;
    seen = ReloadRequests();
    LogInfo("SIGHUP: the aggregator keeps running as it was configured, and its certificate is made anew");
    server->LookAgain();
  }
  LogInfo("stopping");
  server->Stop();
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedglm

int main(int argc, char** argv) {
  using namespace fedglm;
  KeepHeapCompact();
  HandleStopSignals();
  HandleReloadSignal();
  CommandLine line("fedglm-aggregator", "averages the sites' updates and sends the new adapter back");
  Arguments arguments;
  line.root().Add("--config", arguments.config, "TOML file");
  const CommandOption token =
      line.root().Add("--create-token", arguments.token_for, "print a token for this new site, and end");
  line.root().Add("--token-hours", arguments.token_hours, "how long the token is good").ShowDefault().Between(1, 8760);
  Command init = line.AddTo(line.root(), "init", "write aggregator.toml, with every common key and its default",
                            [&] { return Init(arguments.folder); });
  init.Add("folder", arguments.folder, "where; one that is there already is not overwritten").ShowDefault();
  return line.Run(argc, argv, [&] {
    arguments.create_token = token.Given();
    return Run(arguments);
  });
}
