// A request that the engine has taken: it has a place in the queue, and is not refused for want of one any more.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/clock.h"
#include "base/status.h"
#include "inference/engine/answer_channel.h"
#include "inference/engine/generation.h"

namespace fedglm {

class Scheduler;
class Sequence;

// Movable. For one thread at a time; the engine must outlive it. Who does not read it holds AnswerChannel::kCapacity
// tokens: the engine computes no more until some are read.
class PendingAnswer {
 public:
  // `sequence` was submitted to `scheduler`.
  PendingAnswer(Scheduler& scheduler, std::shared_ptr<Sequence> sequence);
  PendingAnswer(PendingAnswer&& other) noexcept = default;
  PendingAnswer& operator=(PendingAnswer&& other) = delete;
  ~PendingAnswer();  // gives the request up, unless it has been waited for

  const GenerationRequest& request() const;

  // Waits for the end of the answer; called once. kCancelled if `on_token`, the request's still_wanted or its timeout
  // said so: its place is free then. ResourceExhausted if the memory budget shrank below the prompt meanwhile, or what
  // its computing failed with. `on_token` may be slow: only its own answer waits for it.
  absl::StatusOr<GenerationResult> Wait(const TokenCallback& on_token);

  // The same, as the channel has it: each token goes to `take`, and `wanted` is asked some times a second while none
  // comes. nullopt if one of them said no.
  std::optional<AnswerEnd> AwaitEnd(const std::function<bool(AnswerToken& token)>& take,
                                    const std::function<bool()>& wanted);

  // The same for all answers of one Engine::Take, piece by piece as they come. `answer` is the index; nothing comes of
  // it after its end, which is as Wait's. Neither token nor end: nothing came in time. still_wanted is not asked: who
  // wants no more lets go of the answers.
  struct Piece {
    size_t answer = 0;
    std::optional<AnswerToken> token;
    std::optional<absl::StatusOr<GenerationResult>> end;
  };
  static Piece NextOf(std::span<PendingAnswer> answers, std::chrono::milliseconds timeout);

 private:
  bool InTime() const;
  void Add(const AnswerToken& token);  // to the result
  absl::StatusOr<GenerationResult> ResultOf(const AnswerEnd& end);
  void GiveUp();

  Scheduler* scheduler_;
  std::shared_ptr<Sequence> sequence_;  // nullptr: moved from
  Stopwatch since_taken_;
  GenerationResult result_;  // so far
  bool left_ = false;        // the scheduler has it no more, or has been told to forget it
};

}  // namespace fedglm
