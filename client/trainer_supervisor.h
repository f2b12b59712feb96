// The hand that reads records. A process of its own, started before the node gives up everything that is not its
// business: it has no network, counts the site's records, and starts fedglm-trainer or fedglm-evaluator for one job at
// a time. The node could not start it again from behind its wall: another process, which does nothing else, does that.
//
// The node chooses how to train; the supervisor alone decides on what: model, records and the folders that a job reads
// and writes are fixed when it starts, whatever a job says.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapter/event_stream.h"
#include "adapter/training_job.h"
#include "base/process.h"
#include "base/status.h"

namespace fedglm {

struct SupervisorOptions {
  std::filesystem::path model;
  std::vector<std::filesystem::path> training_records, held_out_records;
  std::filesystem::path work;  // jobs take their adapter from here and leave their results here
  int threads = 0;             // of a trainer; 0: physical cores
  int64_t micro_batch_tokens = 512;
};

// The node's end. Not thread-safe, but for RequestStop-like flags asked through `stopped`.
class TrainerSupervisor {
 public:
  // Starts fedglm-node, the program beside this one, with --supervise. BadFile if a file of records is not there or
  // holds no record.
  static absl::StatusOr<std::unique_ptr<TrainerSupervisor>> Start(const SupervisorOptions& options);

  int64_t training_records() const { return training_records_; }
  int64_t held_out_records() const { return held_out_records_; }

  // kTrain and kGradient use the training records, kEvaluate the held-out ones, or, of a site that has none, a tenth of
  // the training records that the others do not use. job.adapter and job.output are names
  // inside the work folder. The "done" event; `on_event` sees all of them. Cancelled once `stopped` says so. Failed if
  // the supervisor was killed meanwhile: another one is there for the next job.
  absl::StatusOr<TrainerEvent> Run(const TrainingJob& job, const std::function<void(const TrainerEvent&)>& on_event,
                                   const std::function<bool()>& stopped);

 private:
  explicit TrainerSupervisor(Process process) : process_(std::move(process)) {}
  Process process_;
  EventReader events_{"the supervisor"};
  int64_t job_ = 0;  // the last one given
  int64_t training_records_ = 0, held_out_records_ = 0;
};

// The supervisor's own end: what `fedglm-node --supervise` does until its stdin is closed. The exit code.
int RunSupervisor();

}  // namespace fedglm
