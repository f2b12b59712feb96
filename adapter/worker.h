// The frame of a program that does one job and ends: fedglm-trainer, fedglm-evaluator. It reads records, so it has no
// network: before the job's files are opened it gives up sockets, the network, and every folder the job does not name.
#pragma once

#include <functional>

#include "adapter/event_stream.h"
#include "adapter/training_job.h"
#include "base/status.h"

namespace fedglm {

// What the libraries of fedglm-trainer are told, which read it when they are loaded (training/worker_main.cc says why).
// Whoever starts a trainer tells them; one that was started otherwise starts itself again.
struct LibrarySetting {
  const char* name;
  const char* value;
  bool always;  // also where the user has set another value
};
inline constexpr LibrarySetting kTrainerSettings[] = {{"OPENBLAS_NUM_THREADS", "1", true},
                                                      {"OMP_WAIT_POLICY", "passive", false},
                                                      {"OPENBLAS_THREAD_TIMEOUT", "4", false}};

// Where the program's arguments say that events go. "--events FD": as the one who starts it as a child says. No
// argument: stdout, for people, and what else is printed there goes to stderr. UsageError for other arguments. Call
// first in main().
absl::StatusOr<EventWriter> EventsOf(int argc, char** argv);

// The events of the job, "done" last; an error is returned, not reported as an event.
using JobFunction = std::function<absl::Status(const TrainingJob& job, const EventSink& on_event)>;

// Reads the job from stdin, builds the walls, runs it; what went wrong is the last event. The exit code.
int RunWorker(const EventWriter& events, const JobFunction& run);

}  // namespace fedglm
