#include "client/worker_process.h"

#include "adapter/event_stream.h"
#include "adapter/worker.h"
#include "base/json.h"
#include "base/process.h"

namespace fedglm {

absl::StatusOr<TrainerEvent> RunWorkerProcess(const TrainingJob& job, bool quiet, const WorkerCallbacks& callbacks,
                                              std::vector<std::string> command) {
  const bool evaluates = job.kind == JobKind::kEvaluate;
  const std::string name = evaluates ? "the evaluator" : "the trainer";
  if (command.empty()) {
    command = {(ExecutableDirectory() / (evaluates ? "fedglm-evaluator" : "fedglm-trainer")).string(), "--events",
               std::to_string(kEventsDescriptor)};
  }
  SpawnOptions options;
  options.arguments = std::move(command);
  options.pipe_stdin = options.pipe_events = true;
  // Ctrl-C on a terminal reaches the caller, which ends this one, and says so.
  options.own_process_group = true;
  // Else a trainer starts itself again to say so (training/worker_main.cc), and loads LibTorch twice.
  if (!evaluates) {
    for (const auto& [name, value, always] : kTrainerSettings) {
      options.environment.push_back(std::string(name) + "=" + value);
    }
  }
  if (quiet) options.stderr_file = "/dev/null";
  FEDGLM_ASSIGN_OR_RETURN(Process worker, Process::Spawn(options));
  // A worker that has ended before it read its job says why, or its status does.
  (void)worker.Write(DumpJson(ToJson(job)) + "\n");
  worker.CloseStdin();

  EventReader reader(name);
  TrainerEvent last;
  const auto on_line = [&](const std::string& line) {
    if (const std::optional<TrainerEvent> event = reader.Read(line)) {
      last = *event;
      if (callbacks.on_event) callbacks.on_event(last);
    }
    return absl::OkStatus();
  };
  // A job that is done is done, whoever wants to stop it now.
  const auto stopped = [&] { return last.event != "done" && callbacks.stopped && callbacks.stopped(); };
  FEDGLM_RETURN_IF_ERROR(worker.ReadLines(on_line, stopped));
  const int exit_code = worker.Wait();
  if (stopped()) return CancelledError("stopped");
  if (last.event == "failed") return ErrorOf(last);
  if (exit_code != 0 || last.event != "done") {
    return FailedError(name + " ended with status " + std::to_string(exit_code) + " before its job was done");
  }
  return last;
}

}  // namespace fedglm
