// The loss on examples, without training on them.
#pragma once

#include "training/data/records.h"
#include "training/model/trained_model.h"

namespace fedglm {

struct EvaluatedLoss {
  double loss = 0;  // mean over the counted tokens, natural logarithm
  int64_t tokens = 0;
};

EvaluatedLoss Evaluate(TrainedModel& model, const ExampleSet& set, int64_t micro_batch_tokens);

}  // namespace fedglm
