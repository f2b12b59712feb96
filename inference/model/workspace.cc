#include "inference/model/workspace.h"

#include <algorithm>
#include <utility>

namespace fedglm {
namespace {

constexpr int64_t kAlignment = 16;       // floats: a cache line
constexpr uint64_t kQuantizedBytes = 4;  // of an activation as kernels' QuantizedRows keeps it, about

int64_t Aligned(int64_t floats) { return (floats + kAlignment - 1) / kAlignment * kAlignment; }

// Offsets in floats.
struct Plan {
  int64_t residual = 0, normed, query, key, value, up, gate, cosines, sines, logits, end;

  Plan(const Hyperparameters& h, int64_t rows, int64_t logit_rows) {
    normed = Aligned(rows * h.hidden);
    query = up = normed + Aligned(rows * h.hidden);
    key = query + Aligned(rows * h.query_width());
    value = key + Aligned(rows * h.kv_width());
    gate = up + Aligned(rows * h.up_width());
    cosines = std::max(value + Aligned(rows * h.kv_width()), gate + Aligned(rows * h.feed_forward));
    sines = cosines + Aligned(rows * h.rotary_size / 2);
    logits = sines + Aligned(rows * h.rotary_size / 2);
    end = logits + Aligned(logit_rows * h.vocabulary);
  }
};

uint64_t QuantizedBytes(const Hyperparameters& h, int64_t rows) {
  return static_cast<uint64_t>(rows * std::max({h.hidden, h.query_width(), h.feed_forward})) * kQuantizedBytes;
}

}  // namespace

uint64_t Workspace::Bytes(const Hyperparameters& h, int64_t rows, int64_t logit_rows) {
  return static_cast<uint64_t>(Plan(h, rows, logit_rows).end) * sizeof(float) + QuantizedBytes(h, rows);
}

absl::StatusOr<std::unique_ptr<Workspace>> Workspace::Make(const Hyperparameters& h, int64_t rows, int64_t logit_rows,
                                                           MemoryBudget& budget) {
  const Plan plan(h, rows, logit_rows);
  auto workspace = std::make_unique<Workspace>();
  FEDGLM_ASSIGN_OR_RETURN(workspace->memory,
                          ReservedMemory::Make(budget, MemoryAccount::kActivations, Bytes(h, rows, logit_rows)));
  float* const base = reinterpret_cast<float*>(workspace->memory.data());
  workspace->rows = rows;
  workspace->logit_rows = logit_rows;
  workspace->residual = base + plan.residual;
  workspace->normed = base + plan.normed;
  workspace->query = base + plan.query;
  workspace->key = base + plan.key;
  workspace->value = base + plan.value;
  workspace->up = base + plan.up;
  workspace->gate = base + plan.gate;
  workspace->cosines = base + plan.cosines;
  workspace->sines = base + plan.sines;
  workspace->logits = base + plan.logits;
  return workspace;
}

}  // namespace fedglm
