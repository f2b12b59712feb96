#include "cli/evaluation.h"

#include "base/progress.h"
#include "client/evaluator/evaluation.h"

namespace fedglm::cli {

absl::StatusOr<Engine::Loss> EvaluateRecords(Engine& engine, const std::vector<std::filesystem::path>& files,
                                             int64_t sequence_length, bool quiet) {
  FEDGLM_ASSIGN_OR_RETURN(const ExampleSet set,
                          LoadExamples(files, engine.tokenizer(), engine.chat_template(), sequence_length));
  Progress progress("evaluate", static_cast<int64_t>(set.examples.size()), quiet);
  FEDGLM_ASSIGN_OR_RETURN(const Engine::Loss loss,
                          EvaluateExamples(engine, set, [&](int64_t done) { progress.Update(done); }));
  progress.Finish();
  return loss;
}

}  // namespace fedglm::cli
