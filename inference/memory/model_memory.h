// A model's memory as the engine holds it: the plan, the weights where the plan put them, and what gives way when other
// programs want memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/thread_annotations.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"
#include "inference/memory/memory_budget.h"
#include "inference/memory/memory_plan.h"
#include "inference/memory/weight_residency.h"
#include "inference/memory/weight_streamer.h"

namespace fedglm {

// One pass at a time; the rest is thread-safe.
class ModelMemory : public WeightResidency {
 public:
  // Plans with budget.total(), charges pinned and streamed weights and scratch to `budget`, which must outlive this,
  // and begins to bring weights in. KV pages and activations are charged by whoever makes them. To be called before the
  // model's tensors are touched. ResourceExhausted if the budget is too small (PlanMemory); errors of
  // WeightStreamer::Make.
  static absl::StatusOr<std::unique_ptr<ModelMemory>> Open(std::shared_ptr<const GgufFile> file,
                                                           const Hyperparameters& hyperparameters, PlanOptions options,
                                                           MemoryBudget& budget);

  const MemoryPlan& plan() const { return plan_; }
  StreamerStatistics WeightStatistics() const { return streamer_->Statistics(); }

  // Errors of WeightStreamer::Acquire.
  absl::StatusOr<ptrdiff_t> Acquire(int64_t layer) override { return streamer_->Acquire(layer); }
  void Release(int64_t layer) override { streamer_->Release(layer); }

  // To be called before more is charged to kAdapters than is now, by who keeps KV pages from being allocated meanwhile.

  // Makes the plan again with `adapter_bytes` set aside, and unpins the layers that it does not pin. GiveWay pins no
  // more than the plan for what adapters have at that time. ResourceExhausted (PlanMemory), and nothing changes, if the
  // budget does not hold the model beside the adapters.
  absl::Status PlanForAdapters(uint64_t adapter_bytes);
  // Unpins the fewest layers that leave `bytes` of the budget free, for what others hold beyond the plan. False, and
  // none is unpinned, if not even all layers would do.
  bool UnpinFor(uint64_t bytes);

  // What each of the monitor's samples does to the weights (once a second, from the engine). While the sample's own
  // pressure is 3, an eighth of the planned layers is unpinned each time, at 4 a quarter: not while only the ladder's
  // level is still up, for what was given up already shows in the next sample. At level 0 they are pinned again, an
  // eighth every 5 samples. Where KV pages have taken their place meanwhile, RoomWanted says how much of it is needed.
  void GiveWay(int level, int pressure);
  uint64_t RoomWanted() const override;
  absl::Status TakeRoom() override;
  uint64_t CalmBytes() const override { return calm_bytes_; }

 private:
  explicit ModelMemory(MemoryBudget& budget) : budget_(budget) {}
  // How many layers to pin now.
  int64_t CountUnder(int pressure) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // 3 or 4
  int64_t CountWhenCalm() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Repin(int64_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t MissingRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // of wanted_
  void GiveBackRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // what TakeRoom took for layers that do not come back now
  absl::StatusOr<int64_t> PinnedBeside(uint64_t adapter_bytes) const;  // layers, by the plan
  uint64_t CostOf(int64_t pinned) const { return costs_[static_cast<size_t>(pinned)].bytes(); }

  MemoryBudget& budget_;
  WeightLayout layout_;
  Hyperparameters hyperparameters_;
  PlanOptions options_;
  MemoryPlan plan_;
  std::vector<ResidencyCost> costs_;
  MemoryReservation scratch_;
  std::unique_ptr<WeightStreamer> streamer_;
  mutable Mutex mutex_;  // held while layers change
  // Pinned and ring together, for the next layers to come back; 0: none. Written with the mutex held.
  std::atomic<uint64_t> wanted_{0};
  std::atomic<uint64_t> calm_bytes_{
      0};  // pinned and ring together, of the layers that the plan pins beside the adapters
  MemoryReservation pinned_ ABSL_GUARDED_BY(mutex_), streamed_ ABSL_GUARDED_BY(mutex_);
  int64_t pinned_count_ ABSL_GUARDED_BY(mutex_) = 0;
  int calm_samples_ ABSL_GUARDED_BY(mutex_) = 0;  // one after another, at level 0
};

}  // namespace fedglm
