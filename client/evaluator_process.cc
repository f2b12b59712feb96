#include "client/evaluator_process.h"

#include <cstdio>

#include "base/process.h"
#include "client/trainer_process.h"

namespace fedglm {
namespace {

constexpr std::string_view kErrorPrefix = "fedglm: ";

std::vector<std::string> ArgumentsOf(const TrainingJob& job) {
  std::vector<std::string> arguments = {(ExecutableDirectory() / "fedglm").string(),
                                        "evaluate",
                                        "--json",
                                        "-m",
                                        job.model.string(),
                                        "-t",
                                        std::to_string(job.threads),
                                        "--sequence-length",
                                        std::to_string(job.plan.sequence_length),
                                        "-c",
                                        std::to_string(job.plan.sequence_length)};
  if (!job.adapter.empty()) arguments.insert(arguments.end(), {"--adapter", job.adapter.string()});
  for (const std::filesystem::path& records : job.records)
    arguments.insert(arguments.end(), {"--data", records.string()});
  return arguments;
}

}  // namespace

absl::StatusOr<TrainerEvent> RunEvaluator(const TrainingJob& job, const std::function<bool()>& stopped) {
  SpawnOptions options;
  options.arguments = ArgumentsOf(job);
  options.pipe_stdout = options.stderr_to_stdout = true;
  FEDGLM_ASSIGN_OR_RETURN(Process evaluator, Process::Spawn(options));
  // The last line is the answer, or the error. Lines before it are for whoever reads this process's stderr.
  std::string last;
  const auto keep = [&](const std::string& line) {
    if (!last.empty()) std::fprintf(stderr, "%s\n", last.c_str());
    last = line;
    return absl::OkStatus();
  };
  FEDGLM_RETURN_IF_ERROR(evaluator.ReadLines(keep, stopped));
  TrainerEvent event;
  event.exit_code = evaluator.Wait();
  if (event.exit_code != 0) {
    const bool says_why = last.rfind(kErrorPrefix, 0) == 0;
    if (!says_why && !last.empty()) std::fprintf(stderr, "%s\n", last.c_str());
    event.message = says_why ? last.substr(kErrorPrefix.size())
                             : "the evaluation ended with status " + std::to_string(event.exit_code);
    return ErrorOf(event);
  }
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(last, "fedglm evaluate"));
  event.event = "evaluated";
  FEDGLM_ASSIGN_OR_RETURN(event.loss, RequireLoss(json));
  FEDGLM_ASSIGN_OR_RETURN(event.tokens, RequireInteger(json, "tokens"));
  return event;
}

}  // namespace fedglm
