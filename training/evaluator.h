// The loss on examples, without training on them.
#pragma once

#include "training/data/records.h"
#include "training/model/transformer_loss.h"

namespace fedglm {

struct EvaluatedLoss {
  double loss = 0;  // mean over the counted tokens, natural logarithm
  int64_t tokens = 0;
};

EvaluatedLoss Evaluate(const TransformerLoss& model, const ExampleSet& set, int64_t micro_batch_tokens);

}  // namespace fedglm
