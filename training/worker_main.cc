// fedglm-trainer: one job on stdin (a line of JSON), events on stdout, then the end. It reads records, so it has no
// network: before the job's files are opened it gives up sockets, the network, and every folder the job does not name.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sandbox.h"
#include "inference/kernels/instruction_sets.h"
#include "training/trainer.h"

namespace fedglm {
namespace {

void Print(const TrainerEvent& event) {
  std::printf("%s\n", DumpJson(ToJson(event)).c_str());
  std::fflush(stdout);
}

// Two libraries read what they are told when they are loaded: so this program says it and starts itself again, once.
// The network namespace wants a process with one thread, and OpenBLAS would start its own. And LibTorch's OpenMP
// threads are to sleep between two loops, not to spin: where the node or other trainers want the same cores, spinning
// made training 2 to 15 times slower (measured with two threads on two cores at a load of 7 to 10).
void StartWithOneThread(char** arguments) {
  const char* const threads = std::getenv("OPENBLAS_NUM_THREADS");
  if (threads != nullptr && std::string(threads) == "1" && std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  setenv("OMP_WAIT_POLICY", "passive", 0);
  execv("/proc/self/exe", arguments);  // on failure: go on, with a weaker wall that is reported
}

absl::Status GiveUpNetwork(const TrainingJob& job) {
  if (!job.forbid_network) {
    LogWarning("forbid_network is off: this trainer could open connections");
    return absl::OkStatus();
  }
  if (const absl::Status status = EnterEmptyNetworkNamespace(); !status.ok()) {
    LogInfo("no network namespace of its own (" + Message(status) + "); seccomp alone forbids sockets");
  }
  FilesystemRules rules;
  rules.readable = {"/usr",         "/lib",    "/lib64",    "/etc/ld.so.cache",   "/proc", "/sys", "/dev/null",
                    "/dev/urandom", job.model, job.adapter, ExecutableDirectory()};
  for (const auto* files : {&job.records, &job.held_out}) {
    rules.readable.insert(rules.readable.end(), files->begin(), files->end());
  }
  // An adapter folder is written beside itself and renamed.
  if (!job.output.empty()) rules.writable = {job.output.parent_path()};
  std::erase(rules.readable, std::filesystem::path());
  if (const absl::Status status = RestrictFilesystem(rules); !status.ok()) {
    LogInfo("files are not restricted (" + Message(status) + ")");
  }
  return ForbidSockets();
}

absl::Status Run(const EventSink& on_event) {
  std::string line;
  if (!std::getline(std::cin, line)) return UsageError("a job is expected on stdin, as one line of JSON");
  FEDGLM_RETURN_IF_ERROR(CheckInstructionSetOfEnvironment());
  FEDGLM_ASSIGN_OR_RETURN(TrainingJob job, ParseTrainingJob(line));
  if (job.kind != JobKind::kEvaluate && job.output.empty()) return UsageError("training job: no \"output\"");
  if (!job.output.empty()) {
    std::error_code error;
    job.output = std::filesystem::absolute(job.output, error);
    if (error) return FailedError("the current folder: " + error.message());
    if (!job.output.has_filename()) job.output = job.output.parent_path();  // "folder/"
  }
  if (job.kind != JobKind::kEvaluate) {
    FEDGLM_RETURN_IF_ERROR(MakeDirectories(job.output.parent_path(), 0700));
  }
  if (const absl::Status status = GiveUpNetwork(job); !status.ok()) {
    return Annotate(status, "the trainer cannot give up the network, and does not run with it");
  }
  return RunTrainingJob(job, on_event);
}

}  // namespace
}  // namespace fedglm

int main(int argc, char** argv) {
  using namespace fedglm;
  if (argc > 1) {
    std::fprintf(stderr, "usage: fedglm-trainer < JOB   (one line of JSON; docs/architecture.md)\n");
    return static_cast<int>(std::string(argv[1]) == "--help" ? ExitCode::kDone : ExitCode::kUsage);
  }
  StartWithOneThread(argv);
  if (!InitializeLogging({.program = "fedglm-trainer"}).ok()) return 1;
  const absl::Status status = Run(Print);
  if (!status.ok()) {
    TrainerEvent failed;
    failed.event = "failed";
    failed.exit_code = static_cast<int>(ExitCodeOf(status));
    failed.message = Message(status);
    Print(failed);
  }
  return static_cast<int>(ExitCodeOf(status));
}
