// Runs one job in a process of its own, which reads the records and has no network: fedglm-evaluator, which is the
// engine that serves, for kEvaluate; fedglm-trainer, the one program with LibTorch, for all else.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "adapter/training_job.h"
#include "base/status.h"

namespace fedglm {

struct WorkerCallbacks {
  EventSink on_event;             // may be empty
  std::function<bool()> stopped;  // may be empty; asked several times a second; true ends the worker
};

// The "done" event; Cancelled if it was stopped; or the worker's own error, of the same kind and in its words. Failed
// if it ends without saying how its job ended. Lines that are no events are skipped. What it prints besides goes to
// stderr, or, if `quiet`, nowhere. `command`: in place of the program beside this one.
absl::StatusOr<TrainerEvent> RunWorkerProcess(const TrainingJob& job, bool quiet, const WorkerCallbacks& callbacks,
                                              std::vector<std::string> command = {});

}  // namespace fedglm
