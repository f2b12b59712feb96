#include "inference/engine/position_logits.h"

#include <algorithm>
#include <span>

namespace fedglm {
namespace {

// Where no answers have set the size of a batch: tokens, and logits of so many at once.
constexpr int64_t kEvaluationBatch = 256, kEvaluationLogits = 32;

// The batch's positions that are wanted, and their logits.
absl::Status HandOut(EngineCore& core, int64_t first, int64_t count, const std::vector<bool>& wanted,
                     const LogitsSink& sink) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core.turns);

absl::Status HandOut(EngineCore& core, int64_t first, int64_t count, const std::vector<bool>& wanted,
                     const LogitsSink& sink) {
  std::vector<int64_t> rows, positions;
  for (int64_t row = 0; row < count; ++row) {
    if (!wanted[static_cast<size_t>(first + row)]) continue;
    rows.push_back(row);
    positions.push_back(first + row);
  }
  const auto at_once = static_cast<size_t>(core.workspace->logit_rows);
  for (size_t i = 0; i < rows.size(); i += at_once) {
    const size_t some = std::min(at_once, rows.size() - i);
    FEDGLM_RETURN_IF_ERROR(
        core.model->Logits(std::span(rows).subspan(i, some), *core.workspace, core.pool, core.residency.get()));
    FEDGLM_RETURN_IF_ERROR(sink(positions.data() + i, core.workspace->logits, static_cast<int64_t>(some)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ComputePositionLogits(EngineCore& core, const std::vector<Token>& tokens, const std::vector<bool>& wanted,
                                   const std::function<bool()>& stop_requested, const LogitsSink& sink) {
  SequenceCache cache(core.SharedPages(), KvFormat::kFloat32);
  const std::span<const Token> sequence(tokens);
  while (cache.length() < static_cast<int64_t>(tokens.size())) {
    if (stop_requested && stop_requested()) return CancelledError("stopped");
    const Turn turn(core.turns);
    const ThreadPool::CallerOnItsCore on_its_core(core.pool);
    if (core.workspace == nullptr) FEDGLM_RETURN_IF_ERROR(core.FitWorkspace(kEvaluationBatch, kEvaluationLogits));
    const int64_t first = cache.length();
    const int64_t count = std::min<int64_t>(core.workspace->rows, static_cast<int64_t>(tokens.size()) - first);
    FEDGLM_RETURN_IF_ERROR(core.Reserve(cache, count));
    const InstalledAdapter adapter = core.adapters.Default();
    Batch batch;
    batch.Add(cache, adapter.factors.get(), sequence.subspan(static_cast<size_t>(first), static_cast<size_t>(count)));
    FEDGLM_RETURN_IF_ERROR(core.model->Forward(batch, *core.workspace, core.PoolFor(count), core.residency.get()));
    cache.Advance(count);
    FEDGLM_RETURN_IF_ERROR(HandOut(core, first, count, wanted, sink));
  }
  return absl::OkStatus();
}

}  // namespace fedglm
