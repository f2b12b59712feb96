// fedglm-node --config FILE: takes part in the federation's rounds and serves its site, until Ctrl-C or SIGTERM.
// `fedglm-node init` only writes a configuration file to begin with.
//
// The order in main is the wall between records and network: the supervisor, which reads records, is started first and
// has no network; then this process gives up every file that is not its business; only then does it talk to anybody.
#include <cstdio>
#include <thread>

#include "base/command_line.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/heap/heap.h"
#include "base/lock_file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sandbox.h"
#include "base/warm_blocks.h"
#include "client/identity_keeper.h"
#include "client/node.h"
#include "inference/kernels/instruction_sets.h"

namespace fedglm {
namespace {

absl::Status GiveUpFiles(const NodeOptions& options) {
  FilesystemRules rules;
  rules.readable = options.ReadablePaths();
  rules.writable = {options.state_dir, "/dev/null"};
  if (!options.log.file.empty()) rules.writable.push_back(std::filesystem::absolute(options.log.file).parent_path());
  return RestrictFilesystem(rules);
}

// Reads no file, and talks to nobody.
absl::Status Init(const std::filesystem::path& folder) {
  const std::string file = (folder / "node.toml").lexically_normal().string();
  FEDGLM_RETURN_IF_ERROR(WriteNewFile(file, NodeOptions::FirstFile()));
  std::fprintf(stderr, "%s is written. Put your model, records and site name into it; then, with the token in %s:\n",
               file.c_str(), (folder / "site.token").lexically_normal().c_str());
  std::fprintf(stderr, "  fedglm-node --config %s\n", file.c_str());
  return absl::OkStatus();
}

absl::Status Run(const std::string& config) {
  if (config.empty()) return UsageError("--config is required (see fedglm-node --help)");
  FEDGLM_RETURN_IF_ERROR(CheckInstructionSetOfEnvironment());
  FEDGLM_ASSIGN_OR_RETURN(Configuration configuration, Configuration::Load(config));
  FEDGLM_ASSIGN_OR_RETURN(const NodeOptions options, NodeOptions::Read(configuration));
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(options.state_dir, 0700));
  FEDGLM_ASSIGN_OR_RETURN(
      const LockFile lock,
      LockFile::Take(options.state_dir / "lock", options.state_dir.string() + ": another node runs on this state"));
  if (!options.log.file.empty())
    FEDGLM_RETURN_IF_ERROR(MakeDirectories(std::filesystem::absolute(options.log.file).parent_path()));
  std::string token;
  if (!options.token_file.empty()) {
    // A site that is enrolled goes on without the file.
    const absl::StatusOr<std::string> text = ReadFile(options.token_file, 1 << 16);
    if (text.ok()) token = *text;
  }
  SupervisorOptions supervised;
  supervised.model = options.model;
  supervised.training_records = options.training_records;
  supervised.held_out_records = options.held_out_records;
  supervised.work = options.state_dir / "work";
  supervised.threads = options.threads;
  supervised.micro_batch_tokens = options.micro_batch_tokens;
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<TrainerSupervisor> supervisor, TrainerSupervisor::Start(supervised));
  const absl::Status walled = GiveUpFiles(options);

  // From here on there are threads and connections.
  FEDGLM_RETURN_IF_ERROR(InitializeLogging(options.log));
  if (!walled.ok()) {
    LogWarning("files are not restricted (" + Message(walled) +
               "): only permissions keep this process from the records");
  }
  FEDGLM_ASSIGN_OR_RETURN(const std::string base_sha256, Sha256HexOfFile(options.model));
  IdentityKeeper keeper(options, token);
  NodeMembership membership = {std::nullopt, keeper};
  absl::StatusOr<SiteIdentity> identity = keeper.Begin();
  if (identity.ok()) {
    membership.identity = *std::move(identity);
  } else if (ExitCodeOf(identity.status()) == ExitCode::kUnreachable) {
    LogWarning(Message(identity.status()) + "; this site is served, and becomes a member when that can be reached");
  } else {
    return identity.status();
  }
  (void)KeepBlocksWarm();  // before the memory is planned: they count as the program's
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Node> node,
                          Node::Start(options, membership, base_sha256, std::move(supervisor)));
  for (int64_t seen = 0; !StopRequested(); std::this_thread::sleep_for(std::chrono::milliseconds(50))) {
    if (ReloadRequests() == seen) continue;
    seen = ReloadRequests();
    LogInfo("SIGHUP: the token file and the certificate are looked at again");
    node->LookAgain();
  }
  LogInfo("stopping");
  node->Stop();
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedglm

int main(int argc, char** argv) {
  using namespace fedglm;
  if (argc == 2 && std::string(argv[1]) == "--supervise") return RunSupervisor();
  KeepHeapCompact();
  HandleStopSignals();
  HandleReloadSignal();
  CommandLine line("fedglm-node", "a site of a federation; adapts the model on its own records and serves it");
  std::string config;
  line.root().Add("--config", config, "TOML file");
  std::filesystem::path folder = ".";
  Command init = line.AddTo(line.root(), "init", "write node.toml, with every common key and its default",
                            [&] { return Init(folder); });
  init.Add("folder", folder, "where; one that is there already is not overwritten").ShowDefault();
  return line.Run(argc, argv, [&] { return Run(config); });
}
