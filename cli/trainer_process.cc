#include "cli/trainer_process.h"

#include "base/process.h"

namespace fedglm::cli {
namespace {

absl::Status ErrorOf(const TrainerEvent& event) {
  switch (static_cast<ExitCode>(event.exit_code)) {
    case ExitCode::kUsage:
      return UsageError(event.message);
    case ExitCode::kConfiguration:
      return ConfigurationError(event.message);
    case ExitCode::kRefused:
      return RefusedError(event.message);
    case ExitCode::kBadInputFile:
      return BadFileError(event.message);
    default:
      return FailedError(event.message);
  }
}

}  // namespace

absl::StatusOr<TrainerEvent> RunTrainer(const TrainingJob& job, bool quiet, const TrainerEventCallback& on_event) {
  SpawnOptions options;
  options.arguments = {(ExecutableDirectory() / "fedglm-trainer").string()};
  options.pipe_stdin = options.pipe_stdout = true;
  if (quiet) options.stderr_file = "/dev/null";
  FEDGLM_ASSIGN_OR_RETURN(Process trainer, Process::Spawn(options));
  FEDGLM_RETURN_IF_ERROR(trainer.Write(DumpJson(ToJson(job)) + "\n"));
  trainer.CloseStdin();

  TrainerEvent last;
  while (true) {
    const auto line = trainer.ReadLineFor(std::chrono::milliseconds(200));
    if (StopRequested()) {
      trainer.Terminate(std::chrono::seconds(5));
      return CancelledError("stopped");
    }
    if (!line.ok()) {
      if (line.status().code() == absl::StatusCode::kDeadlineExceeded) continue;
      return line.status();
    }
    if (!line->has_value()) break;
    FEDGLM_ASSIGN_OR_RETURN(last, ParseTrainerEvent(**line));
    if (!on_event(last)) {
      trainer.Terminate(std::chrono::seconds(5));
      return CancelledError("stopped");
    }
  }
  const int exit_code = trainer.Wait();
  if (last.event == "failed") return ErrorOf(last);
  if (exit_code != 0 || last.event != "done") {
    return FailedError("the trainer ended with status " + std::to_string(exit_code) + " before its job was done");
  }
  return last;
}

}  // namespace fedglm::cli
