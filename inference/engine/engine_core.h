// What computes: the model with everything that its forward passes share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "base/thread_annotations.h"
#include "base/thread_pool.h"
#include "inference/autotune/tuning.h"
#include "inference/cache/page_pool.h"
#include "inference/cache/prefix_tree.h"
#include "inference/cache/sequence_cache.h"
#include "inference/engine/adapter_table.h"
#include "inference/engine/turn_queue.h"
#include "inference/memory/adapter_memory.h"
#include "inference/memory/memory_budget.h"
#include "inference/memory/weight_residency.h"
#include "inference/model/transformer.h"
#include "inference/model/workspace.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

// The upper part is set before the engine's thread starts and then only read, or thread-safe by itself. What several
// threads own in turns belongs to whoever has the turn.
struct EngineCore {
  EngineCore(std::unique_ptr<Transformer> transformer, const Tuning& tuning, ThreadPinning pinning,
             uint64_t memory_budget);

  MemoryBudget budget;
  std::unique_ptr<Transformer> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<WeightResidency> residency;  // nullptr: all weights are read in the mapping
  AdapterMemory adapter_memory;
  AdapterTable adapters;  // its adapters' bytes are in adapter_memory
  int64_t context = 0;
  TurnQueue turns;

  ThreadPool pool ABSL_GUARDED_BY(turns);
  std::unique_ptr<ThreadPool> prefill_pool ABSL_GUARDED_BY(turns);  // nullptr: `pool` does that too
  PagePool pages ABSL_GUARDED_BY(turns);
  PrefixTree prefixes ABSL_GUARDED_BY(turns);
  std::unique_ptr<Workspace> workspace ABSL_GUARDED_BY(turns);
  int64_t evictions ABSL_GUARDED_BY(turns) = 0;

  const Hyperparameters& hyperparameters() const { return model->hyperparameters(); }

  // Without a turn: for the layout and the counts, which any thread may read, and for a cache that holds no page yet.
  PagePool& SharedPages() ABSL_NO_THREAD_SAFETY_ANALYSIS { return pages; }

  // For a pass over so many rows.
  ThreadPool& PoolFor(int64_t rows) ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns);

  // A workspace for so many tokens, of which so many have logits, or for fewer if the budget has less room; idle pages
  // are evicted for it. ResourceExhausted if there is no room for one token.
  absl::Status FitWorkspace(int64_t tokens, int64_t logits) ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns);
  // Half as large, to make room for pages. False if it cannot be smaller. FitWorkspace makes it anew when no page is in
  // use.
  bool ShrinkWorkspace() ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns);
  // Pages for the cache's next `count` positions; idle ones of others are evicted for them. ResourceExhausted if even
  // that is not enough.
  absl::Status Reserve(SequenceCache& cache, int64_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns);
  // AdapterMemory::SetAside; idle pages are evicted for it.
  absl::Status SetAsideForAdapters(uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns);
  // Idle pages are evicted for weights that gave way to others and could come back, if that is enough. False: it is
  // not.
  bool MakeRoomForWeights() ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns);
  // Evicts idle pages until at most `most` are left.
  void TrimIdlePages(int64_t most) ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns);
  // What was computed with adapters that are gone.
  void ForgetRetiredAdapters() ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns);

 private:
  // Of idle pages, about: pages of two formats may be there.
  uint64_t IdleBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns);
  // Evicts idle pages, one at a time, until `fits` is OK; its last error if there is none left to evict.
  absl::Status EvictUntil(const std::function<absl::Status()>& fits) ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns);
  absl::Status MakeWorkspace(int64_t rows) ABSL_EXCLUSIVE_LOCKS_REQUIRED(turns);
  int64_t workspace_tokens_ ABSL_GUARDED_BY(turns) = 0, workspace_logits_ ABSL_GUARDED_BY(turns) = 0;  // as asked for
  bool workspace_shrunk_ ABSL_GUARDED_BY(turns) = false;
};

}  // namespace fedglm
