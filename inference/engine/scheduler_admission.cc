// Which requests the scheduler takes, and when each of them begins.
#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "inference/engine/scheduler.h"

namespace fedglm {
namespace {

constexpr const char* kTooLarge = "the memory budget does not hold this prompt";

// The prompt's, and one more for the answer.
int64_t PagesToBegin(const Sequence& sequence) { return PagesFor(static_cast<int64_t>(sequence.tokens().size()) + 1); }

}  // namespace

// With room to compute one token.
uint64_t Scheduler::BytesToBegin(const Sequence& sequence) const {
  const auto page_bytes = static_cast<uint64_t>(core_.SharedPages().layout().PageBytes(options_.format));
  return static_cast<uint64_t>(PagesToBegin(sequence)) * page_bytes + Workspace::Bytes(core_.hyperparameters(), 1, 1);
}

// By then adapters that were replaced will be gone, and layers that gave way to other programs will be back; the
// workspace can be as small as one token.
bool Scheduler::CouldFit(const Sequence& sequence) const {
  const uint64_t weights =
      core_.budget.used(MemoryAccount::kPinnedWeights) + core_.budget.used(MemoryAccount::kStreamedWeights);
  const uint64_t calm = core_.residency != nullptr ? core_.residency->CalmBytes() : 0;
  const uint64_t others = std::max(weights, calm) + core_.budget.used(MemoryAccount::kScratch) + core_.adapters.Room();
  return BytesToBegin(sequence) + others <= core_.budget.total();
}

absl::Status Scheduler::Submit(std::span<const std::shared_ptr<Sequence>> sequences,
                               std::span<const std::shared_ptr<Sequence>> later) {
  const int level = pressure_.load(std::memory_order_relaxed);
  const auto could_fit = [this](const std::shared_ptr<Sequence>& sequence) { return CouldFit(*sequence); };
  const bool fit = std::ranges::all_of(sequences, could_fit) && std::ranges::all_of(later, could_fit);
  const auto count = static_cast<int64_t>(sequences.size());
  const int64_t most = MostRunning(/*level=*/0) + options_.max_waiting;
  if (count > most) {
    return UsageError(std::to_string(count) + " answers at once; there are places for " + std::to_string(most));
  }
  MutexLock lock(mutex_);
  if (level >= 4 || !fit) {
    ++statistics_.refused_memory;
    return absl::ResourceExhaustedError(level >= 4 ? "the machine is short of memory; try again later" : kTooLarge);
  }
  if (!closing_ && in_flight_ + count > MostRunning(level) + options_.max_waiting) {
    ++statistics_.refused_queue_full;
    return UnreachableError("the queue has no room for " + (count == 1 ? "another" : std::to_string(count) + " more") +
                            ": at most " + std::to_string(options_.max_waiting) + " requests wait");
  }
  return Enqueue(sequences);
}

absl::Status Scheduler::SubmitNext(const std::shared_ptr<Sequence>& sequence) {
  MutexLock lock(mutex_);
  return Enqueue(std::span(&sequence, 1));
}

absl::Status Scheduler::Enqueue(std::span<const std::shared_ptr<Sequence>> sequences) {
  if (closing_) return CancelledError("the engine is closing");
  for (const std::shared_ptr<Sequence>& sequence : sequences) {
    ++in_flight_;
    sequence->arrival = ++arrivals_;
    waiting_.push_back(sequence);
  }
  woken_ = true;
  wake_.notify_all();
  return absl::OkStatus();
}

void Scheduler::Abandon(const std::shared_ptr<Sequence>& sequence) {
  sequence->abandoned = true;
  MutexLock lock(mutex_);
  ++statistics_.cancelled;
  if (const auto place = std::find(waiting_.begin(), waiting_.end(), sequence); place != waiting_.end()) {
    waiting_.erase(place);
    --in_flight_;
  }
  woken_ = true;
  wake_.notify_all();
}

// With what the sequences that run already may still need for their prompts.
bool Scheduler::FitsNow(const Sequence& sequence) const {
  const auto missing = [](const Sequence& s) { return std::max<int64_t>(0, PagesToBegin(s) - s.cache.pages()); };
  int64_t needed = missing(sequence);
  for (const auto& other : running_) needed += missing(*other);
  return needed <= core_.pages.Room(sequence.cache.format()) + core_.pages.idle();
}

// The oldest goes first, and while it waits for pages of those that run, nobody passes it.
void Scheduler::Admit() {
  uint64_t passed = 0;  // arrival of the last one that has to wait
  while (static_cast<int64_t>(running_.size()) < MostRunning()) {
    const std::shared_ptr<Sequence> next = TakeWaiting(passed);
    if (next == nullptr) return;
    if (next->abandoned) {  // since it was taken: Abandon has not found it in the queue
      MutexLock lock(mutex_);
      --in_flight_;
      continue;
    }
    if (MakeRoomFor(*next)) {
      Start(next);
      if (passed > 0) return;
      continue;
    }
    next->cache.Clear();
    if (running_.empty()) (void)FitWorkspace();  // as large as before it was to make room for this one
    if (!CouldFit(*next)) {
      Refuse(*next);
      continue;
    }
    passed = next->arrival;
    PutBack(next);
    // When nobody runs, what it lacks may belong to an adapter that was replaced, and is free when those behind it have
    // been computed with that.
    if (!running_.empty()) return;
  }
}

// The oldest that came after `arrival`; nullptr if there is none.
std::shared_ptr<Sequence> Scheduler::TakeWaiting(uint64_t arrival) {
  MutexLock lock(mutex_);
  const auto place = std::ranges::find_if(waiting_, [&](const auto& sequence) { return sequence->arrival > arrival; });
  if (place == waiting_.end()) return nullptr;
  std::shared_ptr<Sequence> sequence = std::move(*place);
  waiting_.erase(place);
  return sequence;
}

void Scheduler::PutBack(const std::shared_ptr<Sequence>& sequence) {
  MutexLock lock(mutex_);
  waiting_.insert(std::upper_bound(waiting_.begin(), waiting_.end(), sequence, Older), sequence);
}

// With what others have computed of it. False: there is too little memory now.
bool Scheduler::MakeRoomFor(Sequence& sequence) {
  const KvFormat format = pressure_.load(std::memory_order_relaxed) >= 2 ? KvFormat::kQ8_0 : options_.format;
  sequence.cache = SequenceCache(core_.pages, format);
  sequence.published_pages = 0;
  sequence.owner.format = format;
  sequence.AdapterNow(core_.adapters.Default());
  if (sequence.purpose() == SequencePurpose::kAnswer) {
    core_.prefixes.Lookup(sequence.owner, sequence.tokens(), sequence.cache);
  }
  // There is no workspace if there was no work when the step began.
  if (core_.workspace == nullptr && !FitWorkspace().ok()) return false;
  while (running_.empty() && !FitsNow(sequence) && core_.ShrinkWorkspace()) {
  }
  return core_.workspace != nullptr && FitsNow(sequence);
}

void Scheduler::Start(const std::shared_ptr<Sequence>& sequence) {
  const int64_t found = sequence->cache.length();
  {
    MutexLock lock(mutex_);
    if (sequence->computed == 0) {
      sequence->cached_tokens = found;
      statistics_.prompt_tokens += static_cast<int64_t>(sequence->request().prompt.size());
      statistics_.cache_hit_tokens += found;
    } else {
      statistics_.recomputed_tokens += std::max<int64_t>(0, sequence->computed - found);
    }
  }
  sequence->published_pages = found / kPageTokens;
  sequence->Admitted();
  running_.insert(std::upper_bound(running_.begin(), running_.end(), sequence, Older), sequence);
}

// What has begun has an end; nothing of it is taken back.
void Scheduler::Refuse(Sequence& sequence) {
  const bool begun = sequence.answered() > 0;
  {
    MutexLock lock(mutex_);
    --in_flight_;
    statistics_.refused_memory += begun ? 0 : 1;
  }
  if (begun) {
    sequence.Finish(absl::OkStatus(), FinishReason::kLength);
  } else {
    sequence.Finish(absl::ResourceExhaustedError(kTooLarge), FinishReason::kCancelled);
  }
}

}  // namespace fedglm
