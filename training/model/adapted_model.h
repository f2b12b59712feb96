// A mapped base with LoRA factors, which are LibTorch's tensors: the optimizer trains them, and the passes over the
// base are those of training/layer.
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
#include "training/layer/adapted_transformer.h"
#include "training/model/trained_model.h"

namespace fedglm {

struct AdaptedModelOptions {
  UpdateForm form = UpdateForm::kChangeOfB;  // which factors are trained: B only, or A and B
  Arithmetic arithmetic = Arithmetic::kServed;
  uint64_t activation_bytes = 512 << 20;  // as TransformerOptions
};

// Not thread-safe.
class AdaptedModel : public TrainedModel {
 public:
  // `adapter` may be nullptr (the base alone). `pool` must outlive the result. ConfigurationError if the environment's
  // FEDGLM_ISA cannot be obeyed.
  static absl::StatusOr<std::unique_ptr<AdaptedModel>> Make(std::shared_ptr<const GgufFile> file,
                                                            const Hyperparameters& hyperparameters,
                                                            const Adapter* adapter, const AdaptedModelOptions& options,
                                                            ThreadPool& pool);

  double Loss(const Batch& batch) override;
  double AddGradients(const Batch& batch, double weight) override;
  std::vector<at::Tensor> Parameters() const override;

  // The factors as they are now, in Hugging Face's row order.
  absl::StatusOr<Adapter> ToAdapter() const;
  // The gradients of the trained factors, named as in a TensorMap ("<module>.lora_B"), in Hugging Face's row order.
  absl::StatusOr<TensorMap> Gradients() const;

 private:
  struct Factors {
    at::Tensor a, b;  // undefined: not adapted
  };
  AdaptedModel(std::shared_ptr<const GgufFile> file, const Hyperparameters& hyperparameters);
  absl::Status MapWeights();
  // Writes into the layers' weights where the factors are, and with `gradients` where those of the trained ones are.
  void PointToFactors(bool gradients);
  // A vector such as "blk.0.attn_norm.weight"; nullptr if the model has none of that name.
  const float* Vector(const std::string& name) const;
  // The adapter with every factor replaced by what `choose` says of its tensors.
  template <typename Choose>
  absl::StatusOr<Adapter> Collect(Choose choose) const;

  const std::shared_ptr<const GgufFile> file_;
  const Hyperparameters hyperparameters_;
  std::vector<LinearModule> modules_;
  std::vector<Factors> factors_;  // of each module
  std::unordered_map<std::string, std::vector<float>> vectors_;
  AdaptedWeights weights_;
  std::unique_ptr<AdaptedTransformer> transformer_;
  Adapter adapter_;  // configuration and provenance; the factors are in factors_
  UpdateForm form_ = UpdateForm::kChangeOfB;
};

}  // namespace fedglm
