// The output head and the cross entropy in one: logits exist only for a few rows at a time, so that a vocabulary of
// 150 000 tokens costs no more memory than a small one.
#pragma once

#include <torch/types.h>

#include <vector>

#include "inference/gguf/token.h"
#include "training/autograd/mapped_linear.h"

namespace fedglm {

// sum_i -log softmax(W hidden[i])[targets[i]], a scalar.  hidden: [targets][columns] float32.
// Backward: dhidden[i] = (softmax(W hidden[i]) - onehot(targets[i])) W, computed with the loss and kept.
at::Tensor OutputLoss(const at::Tensor& hidden, const SharedWeight& output, const std::vector<Token>& targets);

}  // namespace fedglm
