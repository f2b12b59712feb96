// fedglm-trainer: one job on stdin (a line of JSON), its events, then the end.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "adapter/worker.h"
#include "base/log.h"
#include "inference/kernels/instruction_sets.h"
#include "training/trainer.h"

namespace fedglm {
namespace {

// Libraries read what they are told when they are loaded: so this program says it and starts itself again, once. The
// network namespace wants a process with one thread, and OpenBLAS would start its own. And threads that wait are to
// sleep, not to spin on cores that others want. LibTorch's OpenMP threads, where the node or other trainers had work,
// made training 2 to 15 times slower (two threads on two cores at a load of 7 to 10). OpenBLAS's, which LibTorch has it
// start later, spin for 2^26 turns by default: 2^4 gave 1.2 of the speed with OpenBLAS 0.3.21, 1.3 with 0.3.29
// (SmolLM2, two threads on two cores).
void StartWithOneThread(char** arguments) {
  bool changed = false;
  for (const auto& [name, value, always] : kTrainerSettings) {
    const char* const now = std::getenv(name);
    if (now != nullptr && (!always || std::string(now) == value)) continue;
    setenv(name, value, 1);
    changed = true;
  }
  if (!changed) return;
  execv("/proc/self/exe", arguments);  // on failure: go on, with a weaker wall that is reported
}

absl::Status Run(const TrainingJob& job, const EventSink& on_event) {
  FEDGLM_RETURN_IF_ERROR(CheckInstructionSetOfEnvironment());
  return RunTrainingJob(job, on_event);
}

}  // namespace
}  // namespace fedglm

int main(int argc, char** argv) {
  using namespace fedglm;
  StartWithOneThread(argv);
  const absl::StatusOr<EventWriter> events = EventsOf(argc, argv);
  if (!events.ok()) {
    std::fprintf(stderr, "usage: fedglm-trainer [--events FD] < JOB   (one line of JSON; docs/architecture.md)\n");
    return static_cast<int>(argc == 2 && std::string(argv[1]) == "--help" ? ExitCode::kDone : ExitCode::kUsage);
  }
  if (!InitializeLogging({.program = "fedglm-trainer"}).ok()) return static_cast<int>(ExitCode::kFailed);
  return RunWorker(*events, Run);
}
