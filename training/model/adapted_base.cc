#include "training/model/adapted_base.h"

#include <torch/torch.h>

#include "inference/gguf/lora_gguf.h"
#include "inference/kernels/instruction_sets.h"
#include "inference/kernels/kernels.h"
#include "inference/quantization/codec.h"
#include "training/autograd/output_loss.h"

namespace fedglm {
namespace {

at::Tensor ToTensor(const Matrix& matrix) {
  return at::from_blob(const_cast<float*>(matrix.values.data()), {matrix.rows, matrix.columns}, at::kFloat).clone();
}

Matrix ToMatrix(const at::Tensor& tensor) {
  const at::Tensor values = tensor.detach().contiguous();
  const float* const data = values.data_ptr<float>();
  return {values.size(0), values.size(1), std::vector<float>(data, data + values.numel())};
}

at::Tensor DecodeVector(const GgufTensor& tensor) {
  at::Tensor values = at::empty({tensor.columns()}, at::kFloat);
  DecodeRow(tensor.type, tensor.bytes.data(), values.data_ptr<float>(), tensor.columns());
  return values;
}

std::string WithoutSuffix(const std::string& name) {
  constexpr std::string_view kSuffix = ".weight";
  return name.substr(0, name.size() - kSuffix.size());
}

}  // namespace

absl::StatusOr<std::unique_ptr<AdaptedBase>> AdaptedBase::Make(std::shared_ptr<const GgufFile> file,
                                                               const Hyperparameters& hyperparameters,
                                                               const Adapter* adapter, UpdateForm mode,
                                                               ThreadPool& pool) {
  FEDGLM_RETURN_IF_ERROR(CheckInstructionSetOfEnvironment());
  std::unique_ptr<AdaptedBase> base(new AdaptedBase);
  base->mode_ = mode;
  base->modules_ = LinearModules(hyperparameters);
  Adapter ordered;
  if (adapter != nullptr) {
    FEDGLM_ASSIGN_OR_RETURN(ordered, ToGgufOrder(*adapter, base->modules_));
    base->adapter_.config = adapter->config;
    base->adapter_.provenance = adapter->provenance;
  }
  for (const GgufTensor& tensor : file->tensors()) {
    if (tensor.rows() == 1) base->vectors_[tensor.name] = DecodeVector(tensor);
  }
  const bool train_a = TrainsA(mode);
  const auto share = [&](const GgufTensor& tensor) {
    return c10::make_intrusive<MappedWeight>(tensor.AsMatrix(), pool, file);
  };
  for (const LinearModule& module : base->modules_) {
    FEDGLM_ASSIGN_OR_RETURN(const GgufTensor* const tensor, file->RequireTensor(module.gguf_name));
    LinearLayer& layer = base->layers_[WithoutSuffix(module.gguf_name)];
    layer.weight = share(*tensor);
    layer.bias = base->Vector(WithoutSuffix(module.gguf_name) + ".bias");
    const auto pair = ordered.modules.find(module.peft_name);
    if (pair == ordered.modules.end()) continue;
    layer.a = ToTensor(pair->second.a).requires_grad_(train_a);
    layer.b = ToTensor(pair->second.b).requires_grad_(true);
  }
  FEDGLM_ASSIGN_OR_RETURN(const GgufTensor* const embedding, file->RequireTensor("token_embd.weight"));
  const GgufTensor* const output = file->FindTensor("output.weight");
  base->embedding_ = share(*embedding);
  base->output_ = share(output != nullptr ? *output : *embedding);
  base->file_ = std::move(file);
  return base;
}

at::Tensor AdaptedBase::Embed(const std::vector<Token>& tokens) const {
  const int64_t width = embedding_->matrix.columns;
  at::Tensor rows = at::empty({static_cast<int64_t>(tokens.size()), width}, at::kFloat);
  for (size_t t = 0; t < tokens.size(); ++t) {
    DecodeRowFast(embedding_->matrix, tokens[t], rows.data_ptr<float>() + static_cast<int64_t>(t) * width);
  }
  return rows;
}

at::Tensor AdaptedBase::Linear(const std::string& name, const at::Tensor& x) const {
  const LinearLayer& layer = layers_.at(name);
  at::Tensor y = MappedLinear(x, layer.weight);
  if (layer.bias.defined()) y = y + layer.bias;
  if (layer.b.defined()) y = y + at::matmul(at::matmul(x, layer.a.t()), layer.b.t()) * adapter_.config.scale();
  return y;
}

at::Tensor AdaptedBase::Vector(const std::string& name) const {
  const auto found = vectors_.find(name);
  return found == vectors_.end() ? at::Tensor() : found->second;
}

at::Tensor AdaptedBase::Loss(const at::Tensor& hidden, const std::vector<Token>& targets) const {
  return OutputLoss(hidden, output_, targets);
}

std::vector<at::Tensor> AdaptedBase::Parameters() const {
  std::vector<at::Tensor> parameters;
  for (const LinearModule& module : modules_) {  // in the model's order, not the map's
    const LinearLayer& layer = layers_.at(WithoutSuffix(module.gguf_name));
    for (const at::Tensor& factor : {layer.a, layer.b}) {
      if (factor.defined() && factor.requires_grad()) parameters.push_back(factor);
    }
  }
  return parameters;
}

template <typename Choose>
absl::StatusOr<Adapter> AdaptedBase::Collect(Choose choose) const {
  Adapter collected = adapter_;
  for (const LinearModule& module : modules_) {
    const LinearLayer& layer = layers_.at(WithoutSuffix(module.gguf_name));
    if (layer.b.defined()) collected.modules[module.peft_name] = {choose(layer.a), choose(layer.b)};
  }
  return ToHuggingFaceOrder(collected, modules_);
}

absl::StatusOr<Adapter> AdaptedBase::ToAdapter() const {
  return Collect([](const at::Tensor& factor) { return ToMatrix(factor); });
}

absl::StatusOr<TensorMap> AdaptedBase::Gradients() const {
  FEDGLM_ASSIGN_OR_RETURN(const Adapter gradients, Collect([](const at::Tensor& factor) {
                            return ToMatrix(factor.grad().defined() ? factor.grad() : at::zeros_like(factor));
                          }));
  return TensorsOf(gradients, mode_);
}

}  // namespace fedglm
