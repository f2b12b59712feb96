#include "inference/engine/engine_memory.h"

#include <algorithm>

#include "base/memory.h"
#include "inference/cache/kv_layout.h"
#include "inference/engine/engine_core.h"
#include "inference/model/workspace.h"

namespace fedglm {
namespace {

constexpr int64_t kDefaultContext = 8192;

}  // namespace

int64_t ContextOf(const Hyperparameters& h, const EngineOptions& options) {
  return options.context > 0 ? options.context : std::min(h.context_length, kDefaultContext);
}

PlanOptions PlanOptionsFor(const Hyperparameters& h, const EngineOptions& options, int threads) {
  PlanOptions plan;
  plan.budget = options.memory_budget;
  plan.process_bytes = CurrentAnonymousBytes() + options.caller_bytes;
  plan.context = ContextOf(h, options);
  plan.running = std::max<int64_t>(1, options.max_running);
  plan.threads = threads;
  const int64_t batch_tokens = std::max<int64_t>(1, options.prefill_chunk) + plan.running;
  plan.activation_bytes = Workspace::Bytes(h, batch_tokens, plan.running);
  const KvFormat format = options.quantized_cache ? KvFormat::kQ8_0 : KvFormat::kFloat16;
  const KvLayout pages = {h.layers, h.kv_heads, h.head_size};
  plan.kv_bytes_per_position = static_cast<uint64_t>(pages.PageBytes(format) / kPageTokens);
  return plan;
}

}  // namespace fedglm
