// Where LibTorch's forward pass takes its weights from.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "inference/gguf/token.h"

namespace fedglm {

class Weights {
 public:
  virtual ~Weights() = default;

  // Rows of the token embedding: [tokens][hidden].
  virtual at::Tensor Embed(const std::vector<Token>& tokens) const = 0;
  // The layer "blk.0.attn_q" (without ".weight") with its bias, if it has one. x: [tokens][inputs].
  virtual at::Tensor Linear(const std::string& name, const at::Tensor& x) const = 0;
  // A vector such as "blk.0.attn_norm.weight"; undefined if the model has none of that name.
  virtual at::Tensor Vector(const std::string& name) const = 0;
  // Sum of the cross entropies (a scalar, double). hidden: [targets][hidden], after the last norm.
  virtual at::Tensor Loss(const at::Tensor& hidden, const std::vector<Token>& targets) const = 0;
  // What an optimizer trains.
  virtual std::vector<at::Tensor> Parameters() const = 0;
};

}  // namespace fedglm
