#include "inference/engine/engine_core.h"

#include <algorithm>
#include <utility>

namespace fedglm {
namespace {

// Of what is free, at most this part goes to the workspace: the rest is for pages.
constexpr uint64_t kLargestShare = 4;
// Up to so many rows a pass waits for the memory, not for its arithmetic.
constexpr int64_t kMostDecodeRows = 8;

KvLayout LayoutOf(const Hyperparameters& h) { return {h.layers, h.kv_heads, h.head_size}; }

}  // namespace

EngineCore::EngineCore(std::unique_ptr<Transformer> transformer, const Tuning& tuning, ThreadPinning pinning,
                       uint64_t memory_budget)
    : budget(memory_budget),
      model(std::move(transformer)),
      adapter_memory(budget),
      pool(tuning.decode_threads, pinning),
      pages(LayoutOf(model->hyperparameters()), budget),
      prefixes(pages) {
  // A pool that is not used sleeps: the two are not in each other's way. The second is not pinned: whoever calls it is
  // kept on the core that the first leaves free.
  if (tuning.prefill_threads == tuning.decode_threads) return;
  prefill_pool = std::make_unique<ThreadPool>(tuning.prefill_threads);
}

ThreadPool& EngineCore::PoolFor(int64_t rows) {
  return prefill_pool != nullptr && rows > kMostDecodeRows ? *prefill_pool : pool;
}

uint64_t EngineCore::IdleBytes() const {
  const auto allocated = static_cast<uint64_t>(pages.allocated()), idle = static_cast<uint64_t>(pages.idle());
  return allocated == 0 ? 0 : budget.used(MemoryAccount::kKvPages) / allocated * idle;
}

absl::Status EngineCore::MakeWorkspace(int64_t rows) {
  FEDGLM_ASSIGN_OR_RETURN(workspace,
                          Workspace::Make(hyperparameters(), rows, std::min(rows, workspace_logits_), budget));
  return absl::OkStatus();
}

absl::Status EngineCore::FitWorkspace(int64_t tokens, int64_t logits) {
  const bool as_asked_for = workspace_tokens_ == tokens && workspace_logits_ == logits;
  const bool may_grow = workspace_shrunk_ && pages.in_use() == 0;
  if (workspace != nullptr && as_asked_for && !may_grow) return absl::OkStatus();
  workspace = nullptr;
  workspace_tokens_ = tokens;
  workspace_logits_ = logits;
  const Hyperparameters& h = hyperparameters();
  // Idle pages do not count: they have grown into whatever nobody had.
  const uint64_t room = budget.free() + IdleBytes();
  int64_t rows = tokens;
  while (rows > 1 && Workspace::Bytes(h, rows, std::min(rows, logits)) > room / kLargestShare) rows /= 2;
  workspace_shrunk_ = false;
  return EvictUntil([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns) { return MakeWorkspace(rows); });
}

bool EngineCore::ShrinkWorkspace() {
  if (workspace == nullptr || workspace->rows <= 1) return false;
  const int64_t rows = workspace->rows / 2;
  workspace = nullptr;
  workspace_shrunk_ = true;
  return MakeWorkspace(rows).ok();
}

absl::Status EngineCore::EvictUntil(const std::function<absl::Status()>& fits) {
  while (true) {
    absl::Status status = fits();
    if (status.ok() || !prefixes.EvictOne()) return status;
    ++evictions;
  }
}

absl::Status EngineCore::Reserve(SequenceCache& cache, int64_t count) {
  return EvictUntil([&] { return cache.Reserve(count); });
}

absl::Status EngineCore::SetAsideForAdapters(uint64_t bytes) {
  return EvictUntil([&] { return adapter_memory.SetAside(bytes); });
}

bool EngineCore::MakeRoomForWeights() {
  const uint64_t wanted = residency != nullptr ? residency->RoomWanted() : 0;
  if (budget.free() + IdleBytes() < wanted) return false;
  return wanted == 0 || EvictUntil([&] { return residency->TakeRoom(); }).ok();
}

void EngineCore::TrimIdlePages(int64_t most) {
  while (pages.idle() > most && prefixes.EvictOne()) ++evictions;
}

void EngineCore::ForgetRetiredAdapters() {
  for (const uint64_t generation : adapters.TakeRetired()) prefixes.Forget(generation);
}

}  // namespace fedglm
