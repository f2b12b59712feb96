// Continuous batching (Yu et al. 2022, "Orca"): one thread computes all requests together, step by step. Every step
// takes one token of each answer that is being written and a chunk of the prompts that are being read.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "base/status.h"
#include "base/thread_annotations.h"
#include "inference/engine/engine_core.h"
#include "inference/engine/generation.h"
#include "inference/engine/mixed_chunk.h"
#include "inference/engine/sequence.h"

namespace fedglm {

// As in EngineOptions, where the defaults are; these are the least.
struct SchedulerOptions {
  int64_t max_running = 1;
  int64_t max_waiting = 0;
  int64_t prefill_chunk = 1;
  int64_t mixed_chunk = 0;
  KvFormat format = KvFormat::kFloat16;
};

// Thread-safe.
class Scheduler {
 public:
  // Starts the thread. `core` must outlive the scheduler.
  Scheduler(EngineCore& core, const SchedulerOptions& options);
  // Requests that are still there end with Cancelled.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // All of `sequences` or none; their answers come through their channels. Unavailable if the queue is full, UsageError
  // if it never has so many places; ResourceExhausted if the budget could not hold one's prompt, or that of one that
  // will come `later`, with nothing beside it, or under memory pressure 4.
  absl::Status Submit(std::span<const std::shared_ptr<Sequence>> sequences,
                      std::span<const std::shared_ptr<Sequence>> later = {});
  // For what was named as `later`: not refused for a full queue or pressure that came meanwhile.
  absl::Status SubmitNext(const std::shared_ptr<Sequence>& sequence);
  // Nobody waits for the answer any more: its pages are given back before the next step.
  void Abandon(const std::shared_ptr<Sequence>& sequence);

  // 0 none … 4. 1: smaller chunks, half as many running; 2: no idle pages, new pages as Q8_0, one running; 4: no new
  // work.
  void SetPressure(int level);
  // Something changed that a request may have waited for.
  void Wake();

  EngineStatistics Statistics() const;

 private:
  struct Share {
    std::shared_ptr<Sequence> sequence;
    int64_t count = 0;  // tokens of this step
  };
  // Whose next token can be chosen, and their last rows in the batch.
  struct ReadSequences {
    std::vector<std::shared_ptr<Sequence>> sequences;
    std::vector<int64_t> last_rows;
  };

  static bool Older(const std::shared_ptr<Sequence>& a, const std::shared_ptr<Sequence>& b) {
    return a->arrival < b->arrival;
  }
  absl::Status Enqueue(std::span<const std::shared_ptr<Sequence>> sequences) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run();
  bool Step() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);  // false: there was nothing to compute
  void RemoveAbandoned() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  void ApplyPressure() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  void Admit() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  std::shared_ptr<Sequence> TakeWaiting(uint64_t arrival);
  void PutBack(const std::shared_ptr<Sequence>& sequence);
  bool MakeRoomFor(Sequence& sequence) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  void Start(const std::shared_ptr<Sequence>& sequence);
  bool FitsNow(const Sequence& sequence) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  void Refuse(Sequence& sequence);
  absl::Status FitWorkspace() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  bool HasWork() const;
  std::vector<Share> Plan() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  static std::vector<int64_t> ShareChunk(const std::vector<std::shared_ptr<Sequence>>& reading, int64_t chunk);
  void TakeFromOthers(Sequence& sequence) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  void ReservePages(std::vector<Share>& shares) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  void Preempt(const std::shared_ptr<Sequence>& sequence) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  void Compute(const std::vector<Share>& shares) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  ReadSequences EndPrompts(const std::vector<Share>& shares, const Batch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);  // and ends those that want no token
  void Fail(const std::vector<Share>& shares, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  void Advance(const std::vector<Share>& shares) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  void ChooseTokens(const std::vector<std::shared_ptr<Sequence>>& sequences) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  void SumHidden(const Share& share, int64_t first_row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  void Publish(Sequence& sequence, bool at_the_end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  // By value: what is given may lie in running_, from which it is taken.
  void End(std::shared_ptr<Sequence> sequence, const absl::Status& status, FinishReason reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  int64_t MostRunning() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);
  int64_t MostRunning(int level) const;
  bool CouldFit(const Sequence& sequence) const;  // with nothing beside it
  uint64_t BytesToBegin(const Sequence& sequence) const;
  void UpdateGauges() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.turns);

  EngineCore& core_;
  const SchedulerOptions options_;
  std::atomic<int> pressure_{0};

  mutable Mutex mutex_;
  std::condition_variable wake_;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t arrivals_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;                          // submitted and not ended
  std::deque<std::shared_ptr<Sequence>> waiting_ ABSL_GUARDED_BY(mutex_);  // by arrival
  EngineStatistics statistics_ ABSL_GUARDED_BY(mutex_);

  std::vector<std::shared_ptr<Sequence>> running_;  // by arrival; the thread's own, and what follows
  MixedChunk mixed_chunk_;
  std::thread thread_;
};

}  // namespace fedglm
