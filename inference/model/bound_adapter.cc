#include "inference/model/bound_adapter.h"

#include <algorithm>

#include "inference/gguf/lora_gguf.h"
#include "inference/kernels/kernels.h"

namespace fedglm {
namespace {

constexpr int64_t kOutputSpan = 1024;  // outputs of one thread at once: they and the rank's rows stay in the L1 cache

std::vector<float> Transposed(const std::vector<float>& values, int64_t rows, int64_t columns, float scale) {
  std::vector<float> transposed(values.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      transposed[static_cast<size_t>(c * rows + r)] = scale * values[static_cast<size_t>(r * columns + c)];
    }
  }
  return transposed;
}

}  // namespace

uint64_t BoundAdapter::Bytes(const Adapter& adapter) {
  uint64_t values = 0;
  for (const auto& [name, pair] : adapter.modules) values += pair.a.values.size() + pair.b.values.size();
  return values * sizeof(float);
}

absl::StatusOr<std::shared_ptr<const BoundAdapter>> BoundAdapter::Bind(const Adapter& adapter,
                                                                       const std::vector<LinearModule>& modules,
                                                                       AdapterMemory& memory) {
  auto bound = std::make_shared<BoundAdapter>();
  FEDGLM_ASSIGN_OR_RETURN(bound->share_, memory.Take(Bytes(adapter)));
  FEDGLM_ASSIGN_OR_RETURN(Adapter ordered, ToGgufOrder(adapter, modules));
  const float scale = static_cast<float>(adapter.config.scale());
  for (const LinearModule& module : modules) {
    const auto found = ordered.modules.find(module.peft_name);
    if (found == ordered.modules.end()) continue;
    LoraPair& pair = found->second;
    const int64_t rank = pair.a.rows;
    bound->factors_[module.gguf_name] = {rank, std::move(pair.a.values),
                                         Transposed(pair.b.values, module.outputs, rank, scale), module.inputs,
                                         module.outputs};
    pair.b = {};  // module by module, so that there is never more than one of them twice
  }
  return bound;
}

void BoundAdapter::Apply(const std::string& gguf_name, const float* x, int64_t tokens, float* y,
                         const RowKernels& kernels, ThreadPool& pool) const {
  const auto found = factors_.find(gguf_name);
  if (found == factors_.end()) return;
  const Factors& factors = found->second;
  const WeightMatrix a = {BlockType::kF32, reinterpret_cast<const std::byte*>(factors.a.data()), factors.rank,
                          factors.inputs};
  std::vector<float> inner(static_cast<size_t>(tokens * factors.rank));
  MatMul(a, x, tokens, inner.data(), pool);
  const int64_t spans = (factors.outputs + kOutputSpan - 1) / kOutputSpan;
  pool.ParallelFor(spans, tokens == 1 ? spans : 1, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kOutputSpan, last = std::min(end * kOutputSpan, factors.outputs);
    for (int64_t from = first; from < last; from += kOutputSpan) {
      kernels.add_weighted(inner.data(), factors.rank, tokens, factors.b.data() + from, factors.outputs, factors.rank,
                           std::min(kOutputSpan, last - from), y + from, factors.outputs);
    }
  });
}

}  // namespace fedglm
