#include "adapter/worker.h"

#include <fcntl.h>

#include <climits>
#include <cstdlib>
#include <iostream>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sandbox.h"

namespace fedglm {
namespace {

absl::Status BuildWalls(const TrainingJob& job) {
  if (!job.forbid_network) {
    LogWarning("forbid_network is off: this process could open connections");
    return absl::OkStatus();
  }
  FEDGLM_RETURN_IF_ERROR(
      Annotate(GiveUpNetwork(), "this process cannot give up the network, and does not run with it"));
  FilesystemRules rules;
  rules.readable = {"/usr",         "/lib",    "/lib64",    "/etc/ld.so.cache",   "/proc", "/sys", "/dev/null",
                    "/dev/urandom", job.model, job.adapter, ExecutableDirectory()};
  for (const auto* files : {&job.records, &job.held_out}) {
    rules.readable.insert(rules.readable.end(), files->begin(), files->end());
  }
  // An adapter folder is written beside itself and renamed.
  if (!job.output.empty()) rules.writable = {job.output.parent_path()};
  std::erase(rules.readable, std::filesystem::path());
  if (const absl::Status status = RestrictFilesystem(rules); !status.ok()) {
    LogInfo("files are not restricted (" + Message(status) + ")");
  }
  return absl::OkStatus();
}

absl::Status PrepareOutput(TrainingJob& job) {
  if (job.kind == JobKind::kEvaluate) {
    job.output.clear();
    return absl::OkStatus();
  }
  if (job.output.empty()) return UsageError("training job: no \"output\"");
  std::error_code error;
  job.output = std::filesystem::absolute(job.output, error);
  if (error) return FailedError("the current folder: " + error.message());
  if (!job.output.has_filename()) job.output = job.output.parent_path();  // "folder/"
  return MakeDirectories(job.output.parent_path(), 0700);
}

absl::Status ReadAndRun(const EventWriter& events, const JobFunction& run) {
  std::string line;
  if (!std::getline(std::cin, line)) return UsageError("a job is expected on stdin, as one line of JSON");
  FEDGLM_ASSIGN_OR_RETURN(TrainingJob job, ParseTrainingJob(line));
  FEDGLM_RETURN_IF_ERROR(PrepareOutput(job));
  FEDGLM_RETURN_IF_ERROR(BuildWalls(job));
  return run(job, [&](const TrainerEvent& event) { events.Write(event); });
}

}  // namespace

absl::StatusOr<EventWriter> EventsOf(int argc, char** argv) {
  if (argc == 1) {
    FEDGLM_ASSIGN_OR_RETURN(const int out, TakeStdout());
    return EventWriter(out);
  }
  if (argc != 3 || std::string_view(argv[1]) != "--events") return UsageError("unknown arguments");
  char* end = nullptr;
  const long descriptor = std::strtol(argv[2], &end, 10);
  if (end == argv[2] || *end != '\0' || descriptor < 1 || descriptor > INT_MAX ||
      fcntl(static_cast<int>(descriptor), F_GETFD) < 0) {
    return UsageError("--events takes an open descriptor");
  }
  return EventWriter(static_cast<int>(descriptor));
}

int RunWorker(const EventWriter& events, const JobFunction& run) {
  const absl::Status status = ReadAndRun(events, run);
  if (!status.ok()) events.Write(FailedEvent(status));
  return static_cast<int>(ExitCodeOf(status));
}

}  // namespace fedglm
