#include "client/evaluator_process.h"

#include "base/process.h"
#include "client/trainer_process.h"

namespace fedglm {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(100);
constexpr auto kGrace = std::chrono::seconds(5);

std::vector<std::string> ArgumentsOf(const TrainingJob& job) {
  std::vector<std::string> arguments = {(ExecutableDirectory() / "fedglm").string(), "evaluate", "--json", "-m", job.model.string(),
                                        "-t", std::to_string(job.threads), "--sequence-length",
                                        std::to_string(job.sequence_length), "-c", std::to_string(job.sequence_length)};
  if (!job.adapter.empty()) arguments.insert(arguments.end(), {"--adapter", job.adapter.string()});
  for (const std::filesystem::path& records : job.records) arguments.insert(arguments.end(), {"--data", records.string()});
  return arguments;
}

}  // namespace

absl::StatusOr<TrainerEvent> RunEvaluator(const TrainingJob& job, const std::function<bool()>& stopped) {
  SpawnOptions options;
  options.arguments = ArgumentsOf(job);
  options.pipe_stdout = true;
  FEDGLM_ASSIGN_OR_RETURN(Process evaluator, Process::Spawn(options));
  std::string answer;
  while (true) {
    const auto line = evaluator.ReadLineFor(kPoll);
    if (line.ok() && !line->has_value()) break;
    if (line.ok()) answer = **line;
    if (!line.ok() && line.status().code() != absl::StatusCode::kDeadlineExceeded) return line.status();
    if (stopped && stopped()) {
      evaluator.Terminate(kGrace);
      return CancelledError("stopped");
    }
  }
  TrainerEvent event;
  event.exit_code = evaluator.Wait();
  event.message = "the evaluation ended with status " + std::to_string(event.exit_code);
  if (event.exit_code != 0) return ErrorOf(event);
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(answer, "fedglm evaluate"));
  event.event = "evaluated";
  FEDGLM_ASSIGN_OR_RETURN(event.loss, RequireNumber(json, "loss"));
  FEDGLM_ASSIGN_OR_RETURN(event.tokens, RequireInteger(json, "tokens"));
  return event;
}

}  // namespace fedglm
