#include "training/model/adapted_model.h"

#include <torch/torch.h>

#include <utility>

#include "inference/gguf/lora_gguf.h"
#include "inference/kernels/instruction_sets.h"
#include "inference/quantization/codec.h"

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

std::vector<float> DecodeVector(const GgufTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.columns()));
  DecodeRow(tensor.type, tensor.bytes.data(), values.data(), tensor.columns());
  return values;
}

std::string LayerPrefix(int64_t layer) { return "blk." + std::to_string(layer) + "."; }

// "attn_q" of "blk.0.attn_q.weight".
std::string_view PlaceOf(const LinearModule& module) {
  std::string_view name = module.gguf_name;
  name.remove_prefix(LayerPrefix(module.layer).size());
  name.remove_suffix(std::string_view(".weight").size());
  return name;
}

// By the architecture's GGUF name; nullptr: a layer has no place for it.
const float** NormOf(AdaptedLayer& layer, std::string_view gguf) {
  if (gguf == "attn_norm") return &layer.attention_norm;
  if (gguf == "attn_q_norm") return &layer.query_norm;
  if (gguf == "attn_k_norm") return &layer.key_norm;
  if (gguf == "post_attention_norm") return &layer.post_attention_norm;
  if (gguf == "ffn_norm") return &layer.feed_forward_norm;
  if (gguf == "post_ffw_norm") return &layer.post_feed_forward_norm;
  return nullptr;
}

AdaptedLinear* LinearOf(AdaptedLayer& layer, std::string_view gguf) {
  if (gguf == "attn_q") return &layer.q;
  if (gguf == "attn_k") return &layer.k;
  if (gguf == "attn_v") return &layer.v;
  if (gguf == "attn_output") return &layer.output;
  if (gguf == "ffn_gate") return &layer.gate;
  if (gguf == "ffn_up") return &layer.up;
  if (gguf == "ffn_down") return &layer.down;
  return nullptr;
}

absl::Status NoPlaceFor(std::string_view gguf) {
  return FailedError("the trainer does not know what to do with " + std::string(gguf));
}

}  // namespace

AdaptedModel::AdaptedModel(std::shared_ptr<const GgufFile> file, const Hyperparameters& hyperparameters)
    : file_(std::move(file)), hyperparameters_(hyperparameters), modules_(LinearModules(hyperparameters)) {}

absl::StatusOr<std::unique_ptr<AdaptedModel>> AdaptedModel::Make(std::shared_ptr<const GgufFile> file,
                                                                 const Hyperparameters& hyperparameters,
                                                                 const Adapter* adapter,
                                                                 const AdaptedModelOptions& options, ThreadPool& pool) {
  FEDGLM_RETURN_IF_ERROR(CheckInstructionSetOfEnvironment());
  std::unique_ptr<AdaptedModel> model(new AdaptedModel(std::move(file), hyperparameters));
  model->form_ = options.form;
  model->factors_.resize(model->modules_.size());
  FEDGLM_RETURN_IF_ERROR(model->MapWeights());
  if (adapter != nullptr) {
    FEDGLM_ASSIGN_OR_RETURN(const Adapter ordered, ToGgufOrder(*adapter, model->modules_));
    model->adapter_.config = adapter->config;
    model->adapter_.provenance = adapter->provenance;
    for (size_t i = 0; i < model->modules_.size(); ++i) {
      const auto pair = ordered.modules.find(model->modules_[i].peft_name);
      if (pair == ordered.modules.end()) continue;
      model->factors_[i] = {ToTensor(pair->second.a).requires_grad_(TrainsA(options.form)),
                            ToTensor(pair->second.b).requires_grad_(true)};
    }
  }
  model->transformer_ =
      std::make_unique<AdaptedTransformer>(model->hyperparameters_,
                                           TransformerOptions{RotaryFrequencies(hyperparameters, *model->file_),
                                                              options.arithmetic, options.activation_bytes},
                                           pool);
  return model;
}

absl::Status AdaptedModel::MapWeights() {
  for (const GgufTensor& tensor : file_->tensors()) {
    if (tensor.rows() == 1) vectors_[tensor.name] = DecodeVector(tensor);
  }
  weights_.layers.resize(static_cast<size_t>(hyperparameters_.layers));
  for (int64_t i = 0; i < hyperparameters_.layers; ++i) {
    for (const NormRow& norm : hyperparameters_.architecture->norms) {
      const float** const place = NormOf(weights_.layers[static_cast<size_t>(i)], norm.gguf);
      if (place == nullptr) return NoPlaceFor(norm.gguf);
      *place = Vector(LayerPrefix(i) + std::string(norm.gguf) + ".weight");
    }
  }
  for (const LinearModule& module : modules_) {
    FEDGLM_ASSIGN_OR_RETURN(const GgufTensor* const tensor, file_->RequireTensor(module.gguf_name));
    AdaptedLinear* const linear = LinearOf(weights_.layers[static_cast<size_t>(module.layer)], PlaceOf(module));
    if (linear == nullptr) return NoPlaceFor(PlaceOf(module));
    linear->weight = tensor->AsMatrix();
    linear->bias = Vector(LayerPrefix(module.layer) + std::string(PlaceOf(module)) + ".bias");
  }
  FEDGLM_ASSIGN_OR_RETURN(const GgufTensor* const embedding, file_->RequireTensor("token_embd.weight"));
  const GgufTensor* const output = file_->FindTensor("output.weight");
  weights_.embedding = embedding->AsMatrix();
  weights_.output = output != nullptr ? output->AsMatrix() : weights_.embedding;
  weights_.output_norm = Vector("output_norm.weight");
  return absl::OkStatus();
}

const float* AdaptedModel::Vector(const std::string& name) const {
  const auto found = vectors_.find(name);
  return found == vectors_.end() ? nullptr : found->second.data();
}

void AdaptedModel::PointToFactors(bool gradients) {
  // An optimizer may put other memory under a gradient between two steps.
  const auto gradient_of = [&](at::Tensor& factor) -> float* {
    if (!gradients || !factor.requires_grad()) return nullptr;
    if (!factor.grad().defined()) factor.mutable_grad() = at::zeros_like(factor);
    return factor.grad().data_ptr<float>();
  };
  for (size_t i = 0; i < modules_.size(); ++i) {
    Factors& factors = factors_[i];
    if (!factors.b.defined()) continue;
    AdaptedLinear& linear = *LinearOf(weights_.layers[static_cast<size_t>(modules_[i].layer)], PlaceOf(modules_[i]));
    linear.rank = factors.a.size(0);
    linear.scale = static_cast<float>(adapter_.config.scale());
    linear.a = factors.a.data_ptr<float>();
    linear.b = factors.b.data_ptr<float>();
    linear.a_gradient = gradient_of(factors.a);
    linear.b_gradient = gradient_of(factors.b);
  }
}

double AdaptedModel::Loss(const Batch& batch) {
  PointToFactors(false);
  return transformer_->Loss(weights_, batch);
}

double AdaptedModel::AddGradients(const Batch& batch, double weight) {
  PointToFactors(true);
  return transformer_->AddGradients(weights_, batch, weight);
}

std::vector<at::Tensor> AdaptedModel::Parameters() const {
  std::vector<at::Tensor> parameters;
  for (const Factors& factors : factors_) {
    for (const at::Tensor& factor : {factors.a, factors.b}) {
      if (factor.defined() && factor.requires_grad()) parameters.push_back(factor);
    }
  }
  return parameters;
}

template <typename Choose>
absl::StatusOr<Adapter> AdaptedModel::Collect(Choose choose) const {
  Adapter collected = adapter_;
  for (size_t i = 0; i < modules_.size(); ++i) {
    const Factors& factors = factors_[i];
    if (factors.b.defined()) collected.modules[modules_[i].peft_name] = {choose(factors.a), choose(factors.b)};
  }
  return ToHuggingFaceOrder(collected, modules_);
}

absl::StatusOr<Adapter> AdaptedModel::ToAdapter() const {
  return Collect([](const at::Tensor& factor) { return ToMatrix(factor); });
}

absl::StatusOr<TensorMap> AdaptedModel::Gradients() const {
  FEDGLM_ASSIGN_OR_RETURN(const Adapter gradients, Collect([](const at::Tensor& factor) {
                            return ToMatrix(factor.grad().defined() ? factor.grad() : at::zeros_like(factor));
                          }));
  return TensorsOf(gradients, form_);
}

}  // namespace fedglm
