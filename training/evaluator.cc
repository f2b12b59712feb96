#include "training/evaluator.h"

#include "training/data/batches.h"

namespace fedglm {

EvaluatedLoss Evaluate(TrainedModel& model, const ExampleSet& set, int64_t micro_batch_tokens) {
  double sum = 0;
  int64_t tokens = 0;
  for (const Batch& batch : AllBatches(set, micro_batch_tokens)) {
    sum += model.Loss(batch);
    tokens += static_cast<int64_t>(batch.targets.size());
  }
  return {tokens > 0 ? sum / static_cast<double>(tokens) : 0, tokens};
}

}  // namespace fedglm
