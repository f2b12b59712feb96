// The process that `fedglm-node --supervise` is. Lines on stdin: first what is fixed, then jobs, or "cancel" while one
// runs. On the events' descriptor: "ready" with the counts of training and held-out records, then each job's events.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <iostream>

#include "adapter/event_stream.h"
#include "base/json.h"
#include "base/sandbox.h"
#include "client/trainer_supervisor.h"
#include "client/worker_process.h"

namespace fedglm {
namespace {

absl::StatusOr<std::vector<std::filesystem::path>> PathsOf(const Json& json, const char* key) {
  std::vector<std::filesystem::path> paths;
  if (!json.contains(key) || !json[key].is_array()) return UsageError(std::string("supervisor: no ") + key);
  for (const Json& path : json[key]) {
    if (!path.is_string()) return UsageError(std::string("supervisor: bad ") + key);
    paths.emplace_back(path.get<std::string>());
  }
  return paths;
}

absl::StatusOr<SupervisorOptions> ReadOptions(const std::string& line) {
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(line, "supervisor"));
  SupervisorOptions options;
  FEDGLM_ASSIGN_OR_RETURN(const std::string model, RequireString(json, "model"));
  FEDGLM_ASSIGN_OR_RETURN(const std::string work, RequireString(json, "work"));
  FEDGLM_ASSIGN_OR_RETURN(options.training_records, PathsOf(json, "training_records"));
  FEDGLM_ASSIGN_OR_RETURN(options.held_out_records, PathsOf(json, "held_out_records"));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t threads, RequireInteger(json, "threads"));
  FEDGLM_ASSIGN_OR_RETURN(options.micro_batch_tokens, RequireInteger(json, "micro_batch_tokens"));
  options.model = model;
  options.work = work;
  options.threads = static_cast<int>(threads);
  return options;
}

// Lines that are not empty; what they hold is the trainer's business.
absl::StatusOr<int64_t> CountRecords(const std::vector<std::filesystem::path>& files) {
  int64_t records = 0;
  for (const std::filesystem::path& path : files) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error))
      return NotFoundError(path.string() + ": no such file of records");
    std::ifstream file(path);
    int64_t in_file = 0;
    for (std::string line; std::getline(file, line);) in_file += line.find_first_not_of(" \t\r") != std::string::npos;
    if (file.bad() || !file.eof()) return FailedError(path.string() + ": cannot be read");
    if (in_file == 0) return BadFileError(path.string() + ": holds no record");
    records += in_file;
  }
  return records;
}

absl::Status Fix(TrainingJob& job, const SupervisorOptions& options) {
  if (job.kind == JobKind::kPretrain) return RefusedError("supervisor: a node trains adapters only");
  const auto inside = [](const std::filesystem::path& name) {
    return !name.empty() && name == name.filename() && name != "." && name != "..";
  };
  if (job.kind != JobKind::kEvaluate && !inside(job.output))
    return RefusedError("supervisor: a job's output is a name in the work folder");
  if (!job.adapter.empty() && !inside(job.adapter))
    return RefusedError("supervisor: a job's adapter is a name in the work folder");
  job.model = options.model;
  job.records = job.kind == JobKind::kEvaluate ? options.held_out_records : options.training_records;
  job.held_out.clear();
  if (job.kind != JobKind::kEvaluate) job.output = options.work / job.output;
  if (!job.adapter.empty()) job.adapter = options.work / job.adapter;
  job.threads = options.threads;
  job.micro_batch_tokens = options.micro_batch_tokens;
  job.forbid_network = true;
  return absl::OkStatus();
}

// Anything on stdin while a job runs ends it: "cancel", or the end of the node.
bool SomethingOnStdin() {
  pollfd wait = {STDIN_FILENO, POLLIN, 0};
  return std::cin.rdbuf()->in_avail() > 0 || poll(&wait, 1, 0) > 0;
}

// The last event, "done" or "failed", is left to the caller: the node answers it with the next job, so the process
// that did this one must have ended by then.
absl::StatusOr<TrainerEvent> RunJob(const std::string& line, const SupervisorOptions& options,
                                    const EventWriter& events) {
  FEDGLM_ASSIGN_OR_RETURN(TrainingJob job, ParseTrainingJob(line));
  FEDGLM_RETURN_IF_ERROR(Fix(job, options));
  const auto forward = [&](const TrainerEvent& event) {
    if (event.event != "done" && event.event != "failed") events.Write(event);
  };
  return RunWorkerProcess(job, false, {forward, SomethingOnStdin});
}

absl::Status Serve(const EventWriter& events) {
  std::ios::sync_with_stdio(false);  // so that std::cin knows what it has read ahead
  std::string line;
  if (!std::getline(std::cin, line)) return absl::OkStatus();
  FEDGLM_ASSIGN_OR_RETURN(const SupervisorOptions options, ReadOptions(line));
  // The inherited wall: no process below this one can open a connection.
  FEDGLM_RETURN_IF_ERROR(GiveUpNetwork());
  TrainerEvent ready;
  ready.event = "ready";
  FEDGLM_ASSIGN_OR_RETURN(ready.records, CountRecords(options.training_records));
  FEDGLM_ASSIGN_OR_RETURN(ready.examples, CountRecords(options.held_out_records));
  events.Write(ready);
  while (std::getline(std::cin, line)) {
    if (line == "cancel") continue;  // the job had ended by itself
    const absl::StatusOr<TrainerEvent> done = RunJob(line, options, events);
    events.Write(done.ok() ? *done : FailedEvent(done.status()));
  }
  return absl::OkStatus();
}

}  // namespace

int RunSupervisor() {
  // A service manager signals every process of the service. This one ends when the node closes its stdin, not before.
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  const EventWriter events(kEventsDescriptor);
  const absl::Status status = Serve(events);
  if (!status.ok()) events.Write(FailedEvent(status));
  return static_cast<int>(ExitCodeOf(status));
}

}  // namespace fedglm
