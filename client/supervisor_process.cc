// The process that `fedglm-node --supervise` is, and the one above it that starts it again. Lines on stdin: first what
// is fixed, then jobs, each with a number before it, or "cancel" while one runs. On the events' descriptor: "ready"
// with the counts of training and held-out records, then for each job "began" with its number and the job's events.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <fstream>
#include <functional>
#include <iostream>

#include "adapter/event_stream.h"
#include "base/json.h"
#include "base/sandbox.h"
#include "client/trainer_supervisor.h"
#include "client/worker_process.h"

namespace fedglm {
namespace {

// Without held-out records a site sets aside every tenth of its training records, to look at new adapters.
constexpr int64_t kSetAside = 10;

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
  const bool has_held_out = !options.held_out_records.empty();
  job.records = job.kind == JobKind::kEvaluate && has_held_out ? options.held_out_records : options.training_records;
  job.set_aside = has_held_out ? 0 : kSetAside;
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

// "NUMBER JOB" a line. What is none is a "cancel" that came after its job had ended. `again`: what the node knows of
// the records is not told a second time.
absl::Status Serve(const SupervisorOptions& options, const EventWriter& events, bool again) {
  if (!again) {
    TrainerEvent ready;
    ready.event = "ready";
    FEDGLM_ASSIGN_OR_RETURN(ready.records, CountRecords(options.training_records));
    FEDGLM_ASSIGN_OR_RETURN(ready.examples, CountRecords(options.held_out_records));
    events.Write(ready);
  }
  std::ios::sync_with_stdio(false);  // so that std::cin knows what it has read ahead
  for (std::string line; std::getline(std::cin, line);) {
    TrainerEvent began;
    began.event = "began";
    const auto [job, error] = std::from_chars(line.data(), line.data() + line.size(), began.job);
    if (error != std::errc()) continue;
    events.Write(began);
    const absl::StatusOr<TrainerEvent> done = RunJob(job, options, events);
    events.Write(done.ok() ? *done : FailedEvent(done.status()));
  }
  return absl::OkStatus();
}

// Without reading ahead: what follows is the supervisor's.
std::string ReadLineOfStdin() {
  std::string line;
  for (char c; read(STDIN_FILENO, &c, 1) == 1 && c != '\n';) line += c;
  return line;
}

// A job that nobody does: its supervisor was killed before it read the line.
void DropWaitingInput() {
  pollfd wait = {STDIN_FILENO, POLLIN, 0};
  char dropped[4096];
  while (poll(&wait, 1, 0) > 0 && (wait.revents & POLLIN) != 0 && read(STDIN_FILENO, dropped, sizeof(dropped)) > 0) {
  }
}

// Lives the supervisor's life in a child, and another one whenever a signal ended that. A trainer of the dead one dies
// with it, and all of them with this process. The exit code of the one that ended by itself.
int Keep(const std::function<int(bool again)>& live, const EventWriter& events) {
  const pid_t keeper = getpid();
  for (bool again = false;; again = true) {
    const pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      return getppid() == keeper ? live(again) : 0;
    }
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (child > 0 && WIFEXITED(status)) return WEXITSTATUS(status);
    sleep(1);  // whatever kills it may kill the next one at once
    DropWaitingInput();
    TrainerEvent restarted;
    restarted.event = "restarted";
    events.Write(restarted);
  }
}

}  // namespace

int RunSupervisor() {
  // A service manager signals every process of the service. This one ends when the node closes its stdin, not before.
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);  // which is for the node; the workers inherit that
  const EventWriter events(kEventsDescriptor);
  const auto fail = [&](const absl::Status& status) {
    events.Write(FailedEvent(status));
    return static_cast<int>(ExitCodeOf(status));
  };
  const absl::StatusOr<SupervisorOptions> options = ReadOptions(ReadLineOfStdin());
  if (!options.ok()) return fail(options.status());
  // The inherited wall: no process below this one can open a connection.
  if (const absl::Status walled = GiveUpNetwork(); !walled.ok()) return fail(walled);
  const auto live = [&](bool again) {
    const absl::Status status = Serve(*options, events, again);
    return status.ok() ? 0 : fail(status);
  };
  return Keep(live, events);
}

}  // namespace fedglm
