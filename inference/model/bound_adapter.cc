#include "inference/model/bound_adapter.h"

#include "inference/gguf/lora_gguf.h"
#include "inference/kernels/kernels.h"

namespace fedglm {
namespace {

WeightMatrix AsMatrix(const std::vector<float>& values, int64_t rows, int64_t columns) {
  return {BlockType::kF32, reinterpret_cast<const std::byte*>(values.data()), rows, columns};
}

}  // namespace

absl::StatusOr<std::shared_ptr<const BoundAdapter>> BoundAdapter::Bind(const Adapter& adapter,
                                                                       const std::vector<LinearModule>& modules) {
  FEDGLM_ASSIGN_OR_RETURN(Adapter ordered, ToGgufOrder(adapter, modules));
  auto bound = std::make_shared<BoundAdapter>();
  const float scale = static_cast<float>(adapter.config.scale());
  for (const LinearModule& module : modules) {
    const auto found = ordered.modules.find(module.peft_name);
    if (found == ordered.modules.end()) continue;
    LoraPair& pair = found->second;
    for (float& value : pair.b.values) value *= scale;
    bound->factors_[module.gguf_name] = {pair.a.rows, std::move(pair.a.values), std::move(pair.b.values),
                                         module.inputs, module.outputs};
  }
  return bound;
}

void BoundAdapter::Apply(const std::string& gguf_name, const float* x, int64_t tokens, float* y,
                         ThreadPool& pool) const {
  const auto found = factors_.find(gguf_name);
  if (found == factors_.end()) return;
  const Factors& factors = found->second;
  std::vector<float> inner(static_cast<size_t>(tokens * factors.rank));
  MatMul(AsMatrix(factors.a, factors.rank, factors.inputs), x, tokens, inner.data(), pool);
  std::vector<float> outer(static_cast<size_t>(tokens * factors.outputs));
  MatMul(AsMatrix(factors.b, factors.outputs, factors.rank), inner.data(), tokens, outer.data(), pool);
  for (size_t i = 0; i < outer.size(); ++i) y[i] += outer[i];
}

}  // namespace fedglm
