// A request that the engine has taken: it has a place in the queue, and is not refused for want of one any more.
#pragma once

#include <memory>

#include "base/clock.h"
#include "base/status.h"
#include "inference/engine/generation.h"

namespace fedglm {

class Scheduler;
class Sequence;

// Movable. For one thread at a time; the engine must outlive it.
class PendingAnswer {
 public:
  PendingAnswer(PendingAnswer&& other) noexcept = default;
  PendingAnswer& operator=(PendingAnswer&& other) = delete;
  ~PendingAnswer();  // gives the request up, unless its answer has ended

  const GenerationRequest& request() const;
  // Waits for the end of the answer; called once. ResourceExhausted if the memory budget shrank below the prompt meanwhile,
  // or what its computing failed with. `on_token` may be slow: only its own answer waits for it.
  absl::StatusOr<GenerationResult> Wait(const TokenCallback& on_token);

 private:
  friend class Engine;
  PendingAnswer(Scheduler& scheduler, std::shared_ptr<Sequence> sequence);

  Scheduler* scheduler_;
  std::shared_ptr<Sequence> sequence_;  // nullptr: moved from
  Stopwatch since_taken_;
  bool ended_ = false;
};

}  // namespace fedglm
