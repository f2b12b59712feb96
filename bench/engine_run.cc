#include "bench/engine_run.h"

#include "base/json.h"
#include "bench/statistics.h"

namespace fedglm::bench {

absl::StatusOr<double> Samples::MedianOf(const std::string& name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return FailedError("no '" + name + "' was reported");
  return Median(found->second);
}

absl::Status RunEngine(const MeasuredEngine& engine, const Workload& workload, const RunLimits& limits,
                       Samples& samples) {
  std::vector<std::string> arguments = engine.command;
  const auto add = [&](const std::string& flag, const std::string& value) {
    arguments.push_back(flag);
    arguments.push_back(value);
  };
  add("-m", workload.model);
  add("-p", std::to_string(workload.prompt_tokens));
  add("-n", std::to_string(workload.answer_tokens));
  add("-t", std::to_string(engine.threads));
  add("-r", std::to_string(workload.repetitions));
  if (workload.streams > 0) add("--streams", std::to_string(workload.streams));
  arguments.push_back("--json");
  FEDGLM_ASSIGN_OR_RETURN(const MeasuredRun run, RunMeasured(arguments, limits));
  FEDGLM_ASSIGN_OR_RETURN(const Json report, ParseJson(run.output, engine.command.front()));
  if (!report.is_object()) return FailedError(engine.command.front() + " printed no JSON object");
  for (const auto& [name, value] : report.items()) {
    if (value.is_number() && name != "peak_rss_bytes") samples.Add(name, value.get<double>());
  }
  samples.Add("peak_rss_bytes", static_cast<double>(run.peak_rss_bytes));
  return absl::OkStatus();
}

}  // namespace fedglm::bench
