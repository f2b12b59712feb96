#include "client/trainer_process.h"

#include "base/process.h"

namespace fedglm {

absl::Status ErrorOf(const TrainerEvent& failed) {
  switch (static_cast<ExitCode>(failed.exit_code)) {
    case ExitCode::kUsage:
      return UsageError(failed.message);
    case ExitCode::kConfiguration:
      return ConfigurationError(failed.message);
    case ExitCode::kRefused:
      return RefusedError(failed.message);
    case ExitCode::kBadInputFile:
      return BadFileError(failed.message);
    default:
      return FailedError(failed.message);
  }
}

absl::StatusOr<TrainerEvent> RunTrainer(const TrainingJob& job, bool quiet, const TrainerCallbacks& callbacks) {
  SpawnOptions options;
  options.arguments = {(ExecutableDirectory() / "fedglm-trainer").string()};
  options.pipe_stdin = options.pipe_stdout = true;
  // Ctrl-C on a terminal reaches the caller, which ends this one, and says so.
  options.own_process_group = true;
  // Else it starts itself again to say so, and loads LibTorch twice.
  options.environment = {"OPENBLAS_NUM_THREADS=1", "OMP_WAIT_POLICY=passive"};
  if (quiet) options.stderr_file = "/dev/null";
  FEDGLM_ASSIGN_OR_RETURN(Process trainer, Process::Spawn(options));
  // A trainer that has ended before it read its job says why on stdout, or its status does.
  (void)trainer.Write(DumpJson(ToJson(job)) + "\n");
  trainer.CloseStdin();

  TrainerEvent last;
  const auto on_line = [&](const std::string& line) -> absl::Status {
    FEDGLM_ASSIGN_OR_RETURN(last, ParseTrainerEvent(line));
    if (callbacks.on_event) callbacks.on_event(last);
    return absl::OkStatus();
  };
  // A job that is done is done, whoever wants to stop it now.
  const auto stopped = [&] { return last.event != "done" && callbacks.stopped && callbacks.stopped(); };
  FEDGLM_RETURN_IF_ERROR(trainer.ReadLines(on_line, stopped));
  const int exit_code = trainer.Wait();
  if (stopped()) return CancelledError("stopped");
  if (last.event == "failed") return ErrorOf(last);
  if (exit_code != 0 || last.event != "done") {
    return FailedError("the trainer ended with status " + std::to_string(exit_code) + " before its job was done");
  }
  return last;
}

}  // namespace fedglm
