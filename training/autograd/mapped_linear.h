// A linear layer over blocks as they lie in the mapped file: the weight is never copied whole and gets no gradient.
#pragma once

#include <ATen/core/ivalue.h>
#include <torch/types.h>

#include <memory>
#include <utility>

#include "base/thread_pool.h"
#include "inference/quantization/weight_matrix.h"

namespace fedglm {

// Autograd's graph shares it, and so keeps `bytes`, until the backward pass is done. Immutable; thread-safe.
struct MappedWeight : torch::CustomClassHolder {
  MappedWeight(WeightMatrix matrix, ThreadPool& pool, std::shared_ptr<const void> bytes)
      : matrix(matrix), pool(&pool), bytes(std::move(bytes)) {}

  const WeightMatrix matrix;
  ThreadPool* const pool;                   // outlives the backward pass
  const std::shared_ptr<const void> bytes;  // what holds the matrix's; nullptr: they outlive the backward pass
};
using SharedWeight = c10::intrusive_ptr<MappedWeight>;

// y = x W^T.  x: [tokens][columns] float32, y: [tokens][rows].  Backward: dx = dy W.
at::Tensor MappedLinear(const at::Tensor& x, const SharedWeight& weight);

}  // namespace fedglm
