// The stream of events between a process that does jobs and the one that gives them: one line of JSON each, on a
// descriptor of its own (base/process.h), since any library may print to stdout.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "adapter/training_job.h"
#include "base/status.h"

namespace fedglm {

// The end that writes. Thread-compatible.
class EventWriter {
 public:
  // The descriptor stays open as long as the process, and is closed in its children.
  explicit EventWriter(int descriptor);
  // Nothing, if nobody reads any more: whoever gave the job is told by the process's end.
  void Write(const TrainerEvent& event) const;

 private:
  int descriptor_;
};

// The end that reads. A line that is no event changes nothing: it is skipped, and the first one of a stream is logged.
// Thread-compatible.
class EventReader {
 public:
  // `writer` is named in the log: "the trainer".
  explicit EventReader(std::string writer) : writer_(std::move(writer)) {}
  std::optional<TrainerEvent> Read(std::string_view line);

 private:
  std::string writer_;
  bool has_logged_ = false;
};

// The "failed" event of an error, and the error of a "failed" event: the kind (its exit code) and the message arrive.
TrainerEvent FailedEvent(const absl::Status& error);
absl::Status ErrorOf(const TrainerEvent& failed);

}  // namespace fedglm
