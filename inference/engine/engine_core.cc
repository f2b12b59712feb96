#include "inference/engine/engine_core.h"

#include <algorithm>
#include <utility>

namespace fedglm {
namespace {

// Of what is free, at most this part goes to the workspace: the rest is for pages.
constexpr uint64_t kLargestShare = 4;
constexpr int64_t kLogitRows = 32;
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

absl::Status EngineCore::FitWorkspace(int64_t tokens) {
  const bool outdated = workspace_asked_for_ != tokens || (workspace_shrunk_ && pages.in_use() == 0);
  if (workspace != nullptr && !outdated) return absl::OkStatus();
  workspace = nullptr;
  const Hyperparameters& h = hyperparameters();
  // Idle pages do not count: they have grown into whatever nobody had.
  const uint64_t room = budget.free() + IdleBytes();
  int64_t rows = tokens;
  while (rows > 1 && Workspace::Bytes(h, rows, LogitRows(rows)) > room / kLargestShare) rows /= 2;
  return EvictUntil([&]() -> absl::Status {
    FEDGLM_ASSIGN_OR_RETURN(workspace, Workspace::Make(h, rows, LogitRows(rows), budget));
    workspace_asked_for_ = tokens;
    workspace_shrunk_ = false;
    return absl::OkStatus();
  });
}

bool EngineCore::ShrinkWorkspace() {
  if (workspace == nullptr || workspace->rows() <= 1) return false;
  const int64_t rows = workspace->rows() / 2;
  workspace = nullptr;
  absl::StatusOr<std::unique_ptr<Workspace>> made =
      Workspace::Make(hyperparameters(), rows, LogitRows(rows), budget);
  if (made.ok()) workspace = *std::move(made);
  workspace_shrunk_ = true;
  return made.ok();
}

// The running answers' of a step; and enough for texts whose every position is wanted.
int64_t EngineCore::LogitRows(int64_t rows, int64_t running) { return std::min(rows, std::max(running, kLogitRows)); }

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
