#include "inference/engine/pending_answer.h"

#include <chrono>
#include <utility>

#include "inference/engine/scheduler.h"
#include "inference/engine/sequence.h"

namespace fedglm {
namespace {

constexpr std::chrono::milliseconds kPoll{25};  // how often a caller that waits asks whether it is still wanted

}  // namespace

PendingAnswer::PendingAnswer(Scheduler& scheduler, std::shared_ptr<Sequence> sequence)
    : scheduler_(&scheduler), sequence_(std::move(sequence)) {}

PendingAnswer::~PendingAnswer() {
  if (sequence_ != nullptr && !ended_) scheduler_->Abandon(sequence_);
}

const GenerationRequest& PendingAnswer::request() const { return sequence_->request(); }

absl::StatusOr<GenerationResult> PendingAnswer::Wait(const TokenCallback& on_token) {
  const GenerationRequest& asked = request();
  GenerationResult result;
  result.prompt_tokens = static_cast<int64_t>(asked.prompt.size());
  result.reason = FinishReason::kCancelled;
  const auto out_of_time = [&] {
    return asked.timeout_seconds > 0 && since_taken_.Seconds() >= asked.timeout_seconds;
  };
  while (true) {
    AnswerChannel::Item item = sequence_->channel().Take(kPoll);
    if (item.end) {
      ended_ = true;
      FEDGLM_RETURN_IF_ERROR(item.end->status);
      result.reason = item.end->reason;
      result.cached_tokens = item.end->cached_tokens;
      result.queue_seconds = item.end->queue_seconds;
      result.prefill_seconds = item.end->prefill_seconds;
      result.decode_seconds = item.end->decode_seconds;
      return result;
    }
    bool wanted = !out_of_time();
    if (item.token) {
      AnswerToken& token = *item.token;
      result.text += token.text;
      if (token.of_answer) {
        result.tokens.push_back(token.token);
        if (asked.logprobs >= 0) {
          result.logprobs.push_back(token.logprob);
          result.top.push_back(token.top);
        }
      }
      wanted = wanted && (!on_token || on_token({token.token, token.text, token.logprob, std::move(token.top)}));
    } else {
      wanted = wanted && (!asked.still_wanted || asked.still_wanted());
    }
    if (!wanted) return result;
  }
}

}  // namespace fedglm
