#include "adapter/training_job.h"

#include "base/json.h"
#include "tests/fuzz/fuzz_targets.h"

namespace fedglm::fuzz {

void TrainingJob(std::string_view input) {
  const auto job = ParseTrainingJob(input);
  if (job.ok()) {
    const std::string sent = DumpJson(ToJson(*job));
    const auto again = ParseTrainingJob(sent);
    Require(again.ok() && DumpJson(ToJson(*again)) == sent, "a job that was read is sent and read again");
  } else {
    Require(!job.status().message().empty(), "a refusal says why");
  }
  const auto event = ParseTrainerEvent(input);
  if (event.ok()) (void)DumpJson(ToJson(*event));
}

}  // namespace fedglm::fuzz
