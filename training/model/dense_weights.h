// All weights of a small glm4 model as trainable tensors: for pre-training from scratch.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_writer.h"
#include "training/model/weights.h"

namespace fedglm {

class DenseWeights : public Weights {
 public:
  // Matrices from N(0, 1/inputs) (embedding: N(0, 0.02)), output projections of a layer divided by sqrt(2 layers),
  // norms 1, biases 0; the same for the same seed.
  DenseWeights(const Hyperparameters& hyperparameters, uint64_t seed);

  at::Tensor Embed(const std::vector<Token>& tokens) const override;
  at::Tensor Linear(const std::string& name, const at::Tensor& x) const override;
  at::Tensor Vector(const std::string& name) const override;
  at::Tensor Loss(const at::Tensor& hidden, const std::vector<Token>& targets) const override;
  std::vector<at::Tensor> Parameters() const override;

  // Declares and writes all tensors: matrices in `type`, vectors in F32.
  absl::Status Write(GgufWriter& writer, BlockType type) const;

 private:
  const Hyperparameters hyperparameters_;
  std::map<std::string, at::Tensor> tensors_;  // by GGUF name
};

}  // namespace fedglm
