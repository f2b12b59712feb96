#include "training/model/dense_weights.h"

#include <torch/torch.h>

#include <cmath>

#include "inference/quantization/codec.h"

namespace fedglm {

DenseWeights::DenseWeights(const Hyperparameters& h, uint64_t seed) : hyperparameters_(h) {
  auto generator = at::detail::createCPUGenerator(seed);
  const auto matrix = [&](const std::string& name, int64_t rows, int64_t columns, double deviation) {
    tensors_[name] = (at::randn({rows, columns}, generator) * deviation).requires_grad_(true);
  };
  const auto vector = [&](const std::string& name, int64_t size, float value) {
    tensors_[name] = at::full({size}, value).requires_grad_(true);
  };
  matrix("token_embd.weight", h.vocabulary, h.hidden, 0.02);
  vector("output_norm.weight", h.hidden, 1);
  for (const LinearModule& module : LinearModules(h)) {
    const bool into_residual = module.target == "o_proj" || module.target == "down_proj";
    const double deviation = 1.0 / std::sqrt(static_cast<double>(module.inputs * (into_residual ? 2 * h.layers : 1)));
    matrix(module.gguf_name, module.outputs, module.inputs, deviation);
  }
  for (int64_t layer = 0; layer < h.layers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    for (const NormRow& norm : h.architecture->norms) {
      vector(prefix + std::string(norm.gguf) + ".weight", h.Size(norm.width), 1);
    }
    for (const LinearRow& row : h.architecture->linears) {
      if (row.qkv && h.qkv_bias) vector(prefix + std::string(row.gguf) + ".bias", h.Size(row.outputs), 0);
    }
  }
}

at::Tensor DenseWeights::Embed(const std::vector<Token>& tokens) const {
  const at::Tensor ids = torch::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()), at::kLong);
  return at::embedding(tensors_.at("token_embd.weight"), ids);
}

at::Tensor DenseWeights::Linear(const std::string& name, const at::Tensor& x) const {
  const at::Tensor y = at::matmul(x, tensors_.at(name + ".weight").t());
  const at::Tensor bias = Vector(name + ".bias");
  return bias.defined() ? y + bias : y;
}

at::Tensor DenseWeights::Vector(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? at::Tensor() : found->second;
}

at::Tensor DenseWeights::Loss(const at::Tensor& hidden, const std::vector<Token>& targets) const {
  const at::Tensor logits = at::matmul(hidden, tensors_.at("token_embd.weight").t());  // tied
  const at::Tensor ids = torch::tensor(std::vector<int64_t>(targets.begin(), targets.end()), at::kLong);
  return torch::nn::functional::cross_entropy(logits, ids,
                                              torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum))
      .to(at::kDouble);
}

std::vector<at::Tensor> DenseWeights::Parameters() const {
  std::vector<at::Tensor> parameters;
  for (const auto& [name, tensor] : tensors_) parameters.push_back(tensor);
  return parameters;
}

absl::Status DenseWeights::Write(GgufWriter& writer, BlockType type) const {
  std::map<std::string, BlockType> types;
  for (const auto& [name, tensor] : tensors_) {
    const int64_t columns = tensor.size(-1);
    const bool divides = columns % FactsOf(type).weights_per_block == 0;
    types[name] = tensor.dim() == 1 ? BlockType::kF32 : divides ? type : BlockType::kF16;
    std::vector<int64_t> extent = {columns};
    if (tensor.dim() == 2) extent.push_back(tensor.size(0));
    writer.DeclareTensor(name, types[name], extent);
  }
  for (const auto& [name, tensor] : tensors_) {
    const at::Tensor values = tensor.detach().contiguous();
    const int64_t columns = values.size(-1), rows = values.numel() / columns;
    std::vector<std::byte> bytes(static_cast<size_t>(RowBytes(types[name], columns)));
    for (int64_t row = 0; row < rows; ++row) {
      FEDGLM_RETURN_IF_ERROR(EncodeRow(types[name], values.data_ptr<float>() + row * columns, bytes.data(), columns));
      FEDGLM_RETURN_IF_ERROR(writer.Append(bytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace fedglm
