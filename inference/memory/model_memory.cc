#include "inference/memory/model_memory.h"

#include <algorithm>
#include <string>

#include "base/configuration.h"
#include "base/log.h"
#include "base/thread_annotations.h"

namespace fedglm {
namespace {

constexpr int kUnpinPressure = 3;
constexpr int64_t kUnpinParts = 8, kUnpinPartsInNeed = 4;  // of what the plan pins, at that pressure and above
constexpr int64_t kRepinParts = 8;
constexpr int kRepinSamples = 5;  // at level 0, before the next part is pinned again

}  // namespace

absl::StatusOr<std::unique_ptr<ModelMemory>> ModelMemory::Open(std::shared_ptr<const GgufFile> file,
                                                               const Hyperparameters& hyperparameters,
                                                               PlanOptions options, MemoryBudget& budget) {
  options.budget = budget.total();
  std::unique_ptr<ModelMemory> memory(new ModelMemory(budget));
  WeightLayout layout = LayOutWeights(*file, hyperparameters.layers);
  memory->layout_ = layout;
  memory->hyperparameters_ = hyperparameters;
  memory->options_ = options;
  FEDGLM_ASSIGN_OR_RETURN(memory->plan_, PlanMemory(layout, hyperparameters, options));
  const MemoryPlan& plan = memory->plan_;
  MutexLock lock(memory->mutex_);
  const auto reserve = [&](MemoryAccount account) { return budget.Reserve(account, plan.account(account)); };
  FEDGLM_ASSIGN_OR_RETURN(memory->pinned_, reserve(MemoryAccount::kPinnedWeights));
  FEDGLM_ASSIGN_OR_RETURN(memory->streamed_, reserve(MemoryAccount::kStreamedWeights));
  FEDGLM_ASSIGN_OR_RETURN(memory->scratch_, reserve(MemoryAccount::kScratch));
  memory->costs_ = ResidencyCosts(layout);
  memory->pinned_count_ = plan.pinned_count();
  memory->calm_bytes_ = memory->CostOf(plan.pinned_count());
  if (plan.streams()) {
    LogInfo("a budget of " + FormatByteSize(plan.budget) + ": " + std::to_string(plan.pinned_count()) + " of " +
            std::to_string(plan.layers() + 1) + " layers stay in memory, " + FormatByteSize(plan.streamed_bytes) +
            " a pass are streamed");
  }
  FEDGLM_ASSIGN_OR_RETURN(memory->streamer_,
                          WeightStreamer::Make(std::move(file), std::move(layout), plan.pinned_count(), {}));
  return memory;
}

int64_t ModelMemory::CountUnder(int pressure) const {
  const int64_t parts = pressure == kUnpinPressure ? kUnpinParts : kUnpinPartsInNeed;
  int64_t count = std::max<int64_t>(0, pinned_count_ - (plan_.pinned_count() + parts - 1) / parts);
  // The first layers that are unpinned only pay for the ring.
  const uint64_t now = CostOf(pinned_count_);
  while (count > 0 && CostOf(count) >= now) --count;
  return CostOf(count) < now ? count : pinned_count_;
}

int64_t ModelMemory::CountWhenCalm() {
  const int64_t planned = plan_.pinned_count();
  // Adapters may have come or grown since the first plan.
  const int64_t most = PinnedBeside(budget_.used(MemoryAccount::kAdapters)).value_or(pinned_count_);
  calm_bytes_ = CostOf(most);
  int64_t count = std::max(pinned_count_, std::min(most, pinned_count_ + std::max<int64_t>(1, planned / kRepinParts)));
  // The ring of the last few streamed layers may take more than to pin them all.
  while (count < most && CostOf(count) > CostOf(most)) ++count;
  return count;
}

void ModelMemory::GiveWay(int level, int pressure) {
  MutexLock lock(mutex_);
  int64_t count = pinned_count_;
  calm_samples_ = level == 0 ? calm_samples_ + 1 : 0;
  if (pressure >= kUnpinPressure) {
    count = CountUnder(pressure);
  } else if (calm_samples_ >= kRepinSamples && count < plan_.pinned_count()) {
    calm_samples_ = 0;
    count = CountWhenCalm();
  }
  if (count == pinned_count_) {
    if (level > 0) GiveBackRoom();
    return;
  }
  if (const absl::Status status = Repin(count); !status.ok()) {
    if (wanted_ == 0) LogWarning("layers stay as they are: " + Message(status));
    if (count > pinned_count_) wanted_ = CostOf(count);
    calm_samples_ = kRepinSamples;  // again with the next sample
    return;
  }
  LogInfo(std::to_string(count) + " of " + std::to_string(plan_.layers() + 1) + " layers are pinned now");
}

void ModelMemory::GiveBackRoom() {
  if (wanted_ == 0) return;
  wanted_ = 0;
  (void)pinned_.Resize(costs_[static_cast<size_t>(pinned_count_)].pinned_bytes);  // shrinks
}

uint64_t ModelMemory::MissingRoom() const {
  const uint64_t wanted = wanted_;
  return wanted - std::min(wanted, pinned_.bytes() + streamed_.bytes());
}

uint64_t ModelMemory::RoomWanted() const {
  if (wanted_ == 0) return 0;  // the usual case, without waiting for layers that change
  MutexLock lock(mutex_);
  return MissingRoom();
}

absl::Status ModelMemory::TakeRoom() {
  MutexLock lock(mutex_);
  return pinned_.Resize(pinned_.bytes() + MissingRoom());
}

absl::StatusOr<int64_t> ModelMemory::PinnedBeside(uint64_t adapter_bytes) const {
  PlanOptions options = options_;
  options.adapter_bytes = adapter_bytes;
  FEDGLM_ASSIGN_OR_RETURN(const MemoryPlan plan, PlanMemory(layout_, hyperparameters_, options));
  return plan.pinned_count();
}

absl::Status ModelMemory::PlanForAdapters(uint64_t adapter_bytes) {
  MutexLock lock(mutex_);
  FEDGLM_ASSIGN_OR_RETURN(const int64_t count, PinnedBeside(adapter_bytes));
  calm_samples_ = 0;  // what is freed now is not for layers
  GiveBackRoom();
  calm_bytes_ = CostOf(count);
  return count < pinned_count_ ? Repin(count) : absl::OkStatus();
}

bool ModelMemory::UnpinFor(uint64_t bytes) {
  MutexLock lock(mutex_);
  calm_samples_ = 0;
  const uint64_t free = budget_.free();
  if (free >= bytes) return true;
  int64_t count = pinned_count_;
  while (count >= 0 && CostOf(count) + (bytes - free) > CostOf(pinned_count_)) --count;
  if (count < 0) return false;
  const absl::Status status = Repin(count);
  if (!status.ok()) LogWarning("layers stay as they are: " + Message(status));
  return status.ok();
}

absl::Status ModelMemory::Repin(int64_t count) {
  const ResidencyCost& cost = costs_[static_cast<size_t>(count)];
  const uint64_t pinned = pinned_.bytes(), together = pinned + streamed_.bytes();
  // Memory is asked for before it is taken, and given back after it was.
  if (cost.bytes() > together) FEDGLM_RETURN_IF_ERROR(pinned_.Resize(pinned + (cost.bytes() - together)));
  if (absl::Status status = streamer_->SetPinned(count); !status.ok()) {
    (void)pinned_.Resize(pinned);  // shrinks
    return status;
  }
  pinned_count_ = count;
  wanted_ = 0;
  if (pinned_.bytes() < cost.pinned_bytes) {
    streamed_.MoveTo(pinned_, cost.pinned_bytes - pinned_.bytes());
  } else if (streamed_.bytes() < cost.ring_bytes()) {
    pinned_.MoveTo(streamed_, cost.ring_bytes() - streamed_.bytes());
  }
  FEDGLM_RETURN_IF_ERROR(pinned_.Resize(cost.pinned_bytes));
  return streamed_.Resize(cost.ring_bytes());
}

}  // namespace fedglm
