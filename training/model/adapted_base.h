// A mapped base with LoRA factors: the base's weights are constants, the factors are trained.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"
#include "training/autograd/mapped_linear.h"
#include "training/model/weights.h"

namespace fedglm {

class AdaptedBase : public Weights {
 public:
  // `adapter` may be nullptr (the base alone). `mode` says which factors are trained: B only, or A and B. `pool` must
  // outlive the result. ConfigurationError if the environment's FEDGLM_ISA cannot be obeyed.
  static absl::StatusOr<std::unique_ptr<AdaptedBase>> Make(std::shared_ptr<const GgufFile> file,
                                                           const Hyperparameters& hyperparameters,
                                                           const Adapter* adapter, UpdateForm mode, ThreadPool& pool);

  at::Tensor Embed(const std::vector<Token>& tokens) const override;
  at::Tensor Linear(const std::string& name, const at::Tensor& x) const override;
  at::Tensor Vector(const std::string& name) const override;
  at::Tensor Loss(const at::Tensor& hidden, const std::vector<Token>& targets) const override;
  std::vector<at::Tensor> Parameters() const override;

  // The factors as they are now, in Hugging Face's row order.
  absl::StatusOr<Adapter> ToAdapter() const;
  // The gradients of the trained factors, named as in a TensorMap ("<module>.lora_B"), in Hugging Face's row order.
  absl::StatusOr<TensorMap> Gradients() const;

 private:
  struct LinearLayer {
    SharedWeight weight;
    at::Tensor bias;  // undefined: none
    at::Tensor a, b;  // undefined: not adapted
  };
  AdaptedBase() = default;
  // The adapter with every factor replaced by what `choose` says of its tensors.
  template <typename Choose>
  absl::StatusOr<Adapter> Collect(Choose choose) const;

  std::shared_ptr<const GgufFile> file_;
  std::vector<LinearModule> modules_;
  std::unordered_map<std::string, LinearLayer> layers_;  // by GGUF name without ".weight"
  std::unordered_map<std::string, at::Tensor> vectors_;
  SharedWeight embedding_, output_;
  Adapter adapter_;  // configuration and provenance; the factors are in layers_
  UpdateForm mode_ = UpdateForm::kChangeOfB;
};

}  // namespace fedglm
