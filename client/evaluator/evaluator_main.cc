// fedglm-evaluator: one job of kind "evaluate" on stdin (a line of JSON), its events, then the end.
#include <cstdio>
#include <string>

#include "adapter/worker.h"
#include "base/log.h"
#include "client/evaluator/evaluation.h"

int main(int argc, char** argv) {
  using namespace fedglm;
  const absl::StatusOr<EventWriter> events = EventsOf(argc, argv);
  if (!events.ok()) {
    std::fprintf(stderr, "usage: fedglm-evaluator [--events FD] < JOB   (one line of JSON; docs/architecture.md)\n");
    return static_cast<int>(argc == 2 && std::string(argv[1]) == "--help" ? ExitCode::kDone : ExitCode::kUsage);
  }
  if (!InitializeLogging({.program = "fedglm-evaluator"}).ok()) return static_cast<int>(ExitCode::kFailed);
  return RunWorker(*events, RunEvaluationJob);
}
