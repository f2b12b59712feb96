#include "client/trainer_supervisor.h"

#include "base/json.h"
#include "base/log.h"

namespace fedglm {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(100);
constexpr char kEnded[] = "the trainer supervisor has ended: start the node again, or nothing is trained here";
constexpr char kRestarted[] = "the trainer supervisor was killed, and was started again";

Json Paths(const std::vector<std::filesystem::path>& paths) {
  Json json = Json::array();
  for (const std::filesystem::path& path : paths) json.push_back(path.string());
  return json;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainerSupervisor>> TrainerSupervisor::Start(const SupervisorOptions& options) {
  SpawnOptions spawn;
  spawn.arguments = {(ExecutableDirectory() / "fedglm-node").string(), "--supervise"};
  spawn.pipe_stdin = spawn.pipe_events = true;
  // Ctrl-C on a terminal reaches the node, which ends this process when it is ready to.
  spawn.own_process_group = true;
  FEDGLM_ASSIGN_OR_RETURN(Process process, Process::Spawn(spawn));
  std::unique_ptr<TrainerSupervisor> supervisor(new TrainerSupervisor(std::move(process)));
  const Json fixed = {{"model", options.model.string()},
                      {"training_records", Paths(options.training_records)},
                      {"held_out_records", Paths(options.held_out_records)},
                      {"work", options.work.string()},
                      {"threads", options.threads},
                      {"micro_batch_tokens", options.micro_batch_tokens}};
  FEDGLM_RETURN_IF_ERROR(supervisor->process_.Write(DumpJson(fixed) + "\n"));
  while (true) {
    FEDGLM_ASSIGN_OR_RETURN(const std::optional<std::string> line, supervisor->process_.ReadLine());
    if (!line) return FailedError("the trainer supervisor ended at once");
    const std::optional<TrainerEvent> event = supervisor->events_.Read(*line);
    if (event && event->event == "failed") return ErrorOf(*event);
    if (event && event->event == "restarted") return FailedError("the trainer supervisor was killed as it began");
    if (!event || event->event != "ready") continue;
    supervisor->training_records_ = event->records;
    supervisor->held_out_records_ = event->examples;
    return supervisor;
  }
}

absl::StatusOr<TrainerEvent> TrainerSupervisor::Run(const TrainingJob& job,
                                                    const std::function<void(const TrainerEvent&)>& on_event,
                                                    const std::function<bool()>& stopped) {
  // Killed while there was nothing to do: no job was lost.
  for (auto line = process_.ReadLineFor(kPoll.zero()); line.ok() && line->has_value();
       line = process_.ReadLineFor(kPoll.zero())) {
    const std::optional<TrainerEvent> event = events_.Read(**line);
    if (event && event->event == "restarted") LogWarning(kRestarted);
  }
  // The number tells this job's events from those of one that a killed supervisor left behind.
  if (!process_.Write(std::to_string(++job_) + " " + DumpJson(ToJson(job)) + "\n").ok()) return FailedError(kEnded);
  bool began = false, cancelled = false;
  while (true) {
    if (!cancelled && stopped && stopped()) {
      cancelled = true;
      FEDGLM_RETURN_IF_ERROR(process_.Write("cancel\n"));
    }
    const auto line = process_.ReadLineFor(kPoll);
    if (!line.ok()) {
      if (line.status().code() == absl::StatusCode::kDeadlineExceeded) continue;
      return line.status();
    }
    if (!line->has_value()) return FailedError(kEnded);
    const std::optional<TrainerEvent> event = events_.Read(**line);
    if (!event) continue;
    if (event->event == "restarted") return FailedError(kRestarted);
    began = began || (event->event == "began" && event->job == job_);
    if (!began) continue;
    if (event->event == "failed") return cancelled ? CancelledError("stopped") : ErrorOf(*event);
    if (on_event) on_event(*event);
    if (event->event == "done") return *event;
  }
}

}  // namespace fedglm
