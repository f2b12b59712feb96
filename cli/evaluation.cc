#include "cli/evaluation.h"

#include "base/process.h"
#include "base/progress.h"
#include "training/data/records.h"

namespace fedglm::cli {

absl::StatusOr<Engine::Loss> EvaluateRecords(Engine& engine, const std::vector<std::filesystem::path>& files,
                                             int64_t sequence_length, bool quiet) {
  FEDGLM_ASSIGN_OR_RETURN(const ExampleSet set,
                          LoadExamples(files, engine.tokenizer(), engine.chat_template(), sequence_length));
  Engine::Loss total;
  Progress progress("evaluate", static_cast<int64_t>(set.examples.size()), quiet);
  int64_t done = 0;
  for (const Example& example : set.examples) {
    if (StopRequested()) return CancelledError("stopped");
    FEDGLM_ASSIGN_OR_RETURN(const Engine::Loss loss, engine.SequenceLoss(example.tokens, example.counted));
    total.sum += loss.sum;
    total.tokens += loss.tokens;
    progress.Update(++done);
  }
  progress.Finish();
  return total;
}

}  // namespace fedglm::cli
