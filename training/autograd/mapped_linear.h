// A linear layer over blocks as they lie in the mapped file: the weight is never copied whole and gets no gradient.
#pragma once

#include <torch/types.h>

#include "base/thread_pool.h"
#include "inference/quantization/weight_matrix.h"

namespace fedglm {

// Both must outlive the backward pass.
struct MappedWeight {
  WeightMatrix matrix;
  ThreadPool* pool = nullptr;
};

// y = x W^T.  x: [tokens][columns] float32, y: [tokens][rows].  Backward: dx = dy W.
at::Tensor MappedLinear(const at::Tensor& x, const MappedWeight& weight);

}  // namespace fedglm
