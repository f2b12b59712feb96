// fedglm-node --config FILE: takes part in the federation's rounds and serves its site, until Ctrl-C or SIGTERM.
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
#include "client/enrolment_client.h"
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

absl::StatusOr<SiteIdentity> IdentityOf(const NodeOptions& options, const std::string& token_text) {
  const std::filesystem::path folder = options.state_dir / "identity";
  absl::StatusOr<SiteIdentity> identity = LoadIdentity(folder);
  if (identity.ok() || identity.status().code() != absl::StatusCode::kNotFound) return identity;
  if (token_text.empty()) {
    return ConfigurationError("the site is not enrolled yet: federation.token_file must name a file with its token");
  }
  FEDGLM_ASSIGN_OR_RETURN(const EnrolmentToken token, ParseToken(token_text));
  FEDGLM_ASSIGN_OR_RETURN(identity, EnrolSite(token, options.site, folder));
  LogInfo("enrolled as " + identity->site_id + " at " + token.address);
  return identity;
}

absl::Status Run(const std::string& config) {
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
    // Needed once: a site that is enrolled goes on without the file.
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
  NodeMembership membership;
  membership.enrol = [&] { return IdentityOf(options, token); };
  absl::StatusOr<SiteIdentity> identity = membership.enrol();
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
  while (!StopRequested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
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
  CommandLine line("fedglm-node", "a site of a federation; adapts the model on its own records and serves it");
  std::string config;
  line.root().Add("--config", config, "TOML file").Required();
  return line.Run(argc, argv, [&] { return Run(config); });
}
