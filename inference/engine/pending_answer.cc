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
  if (sequence_ != nullptr && !left_) GiveUp();
}

const GenerationRequest& PendingAnswer::request() const { return sequence_->request(); }

void PendingAnswer::GiveUp() {
  left_ = true;
  scheduler_->Abandon(sequence_);
}

std::optional<AnswerEnd> PendingAnswer::AwaitEnd(const std::function<bool(AnswerToken& token)>& take,
                                                 const std::function<bool()>& wanted) {
  while (true) {
    AnswerChannel::Item item = sequence_->channel().Take(kPoll);
    if (item.end) {
      left_ = true;
      return std::move(item.end);
    }
    if (item.token ? take(*item.token) : wanted()) continue;
    GiveUp();
    return std::nullopt;
  }
}

absl::StatusOr<GenerationResult> PendingAnswer::Wait(const TokenCallback& on_token) {
  const GenerationRequest& asked = request();
  GenerationResult result;
  result.prompt_tokens = static_cast<int64_t>(asked.prompt.size());
  result.reason = FinishReason::kCancelled;
  const auto in_time = [&] { return asked.timeout_seconds <= 0 || since_taken_.Seconds() < asked.timeout_seconds; };
  const auto take = [&](AnswerToken& token) {
    result.text += token.text;
    if (token.of_answer) {
      result.tokens.push_back(token.token);
      if (asked.logprobs >= 0) {
        result.logprobs.push_back(token.logprob);
        result.top.push_back(token.top);
      }
    }
    return in_time() && (!on_token || on_token({token.token, token.text, token.logprob, std::move(token.top)}));
  };
  const auto wanted = [&] { return in_time() && (!asked.still_wanted || asked.still_wanted()); };
  const std::optional<AnswerEnd> end = AwaitEnd(take, wanted);
  if (!end) return result;
  FEDGLM_RETURN_IF_ERROR(end->status);
  result.reason = end->reason;
  result.cached_tokens = end->cached_tokens;
  result.queue_seconds = end->queue_seconds;
  result.prefill_seconds = end->prefill_seconds;
  result.decode_seconds = end->decode_seconds;
  return result;
}

}  // namespace fedglm
