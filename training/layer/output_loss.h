// The output head and the cross entropy in one: logits exist only for a few rows at a time, so that a vocabulary of
// 150 000 tokens costs no more memory than a small one.
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "inference/gguf/token.h"
#include "inference/quantization/weight_matrix.h"
#include "training/layer/adapted_linear.h"
#include "training/layer/float_buffer.h"

namespace fedglm {

// Not thread-safe.
class OutputLoss {
 public:
  OutputLoss(Arithmetic arithmetic, ThreadPool& pool) : arithmetic_(arithmetic), pool_(pool), linear_(pool) {}

  // sum_i -log softmax(W hidden[i])[targets[i]].  hidden: [targets][columns]; W: `output`. With `gradient`, shaped as
  // hidden, which it may be: gradient[i] = weight (softmax(W hidden[i]) - onehot(targets[i])) W.
  double operator()(const WeightMatrix& output, const float* hidden, std::span<const Token> targets, double weight,
                    float* gradient);

 private:
  const Arithmetic arithmetic_;
  ThreadPool& pool_;
  LinearPass linear_;
  LinearInput input_;
  FloatBuffer logits_;
};

}  // namespace fedglm
