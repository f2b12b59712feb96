#include "inference/engine/pending_answer.h"

#include <utility>

#include "inference/engine/scheduler.h"
#include "inference/engine/sequence.h"

namespace fedglm {
namespace {

constexpr std::chrono::milliseconds kPoll{25};  // how often a caller that waits asks whether it is still wanted

}  // namespace

PendingAnswer::PendingAnswer(Scheduler& scheduler, std::shared_ptr<Sequence> sequence)
    : scheduler_(&scheduler), sequence_(std::move(sequence)) {
  result_.prompt_tokens = static_cast<int64_t>(request().prompt.size());
  result_.reason = FinishReason::kCancelled;
}

PendingAnswer::~PendingAnswer() {
  if (sequence_ != nullptr && !left_) GiveUp();
}

const GenerationRequest& PendingAnswer::request() const { return sequence_->request(); }

bool PendingAnswer::InTime() const {
  return request().timeout_seconds <= 0 || since_taken_.Seconds() < request().timeout_seconds;
}

void PendingAnswer::GiveUp() {
  left_ = true;
  scheduler_->Abandon(sequence_);
}

void PendingAnswer::Add(const AnswerToken& token) {
  result_.text += token.text;
  if (!token.of_answer) return;
  result_.tokens.push_back(token.token);
  if (request().logprobs < 0) return;
  result_.logprobs.push_back(token.logprob);
  result_.top.push_back(token.top);
}

absl::StatusOr<GenerationResult> PendingAnswer::ResultOf(const AnswerEnd& end) {
  FEDGLM_RETURN_IF_ERROR(end.status);
  result_.reason = end.reason;
  result_.cached_tokens = end.cached_tokens;
  result_.queue_seconds = end.queue_seconds;
  result_.prefill_seconds = end.prefill_seconds;
  result_.decode_seconds = end.decode_seconds;
  return std::move(result_);
}

std::optional<AnswerEnd> PendingAnswer::AwaitEnd(const std::function<bool(AnswerToken& token)>& take,
                                                 const std::function<bool()>& wanted) {
  const AnswerPlace& place = sequence_->place();
  while (true) {
    AnswerChannel::Item item = place.channel->TakeOf(place.answer, kPoll);
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
  const auto take = [&](AnswerToken& token) {
    Add(token);
    return InTime() && (!on_token || on_token({token.token, token.text, token.logprob, std::move(token.top)}));
  };
  const auto wanted = [&] { return InTime() && (!request().still_wanted || request().still_wanted()); };
  const std::optional<AnswerEnd> end = AwaitEnd(take, wanted);
  if (!end) return std::move(result_);
  return ResultOf(*end);
}

PendingAnswer::Piece PendingAnswer::NextOf(std::span<PendingAnswer> answers, std::chrono::milliseconds timeout) {
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].left_ || answers[i].InTime()) continue;
    answers[i].GiveUp();
    return {i, std::nullopt, std::move(answers[i].result_)};
  }
  AnswerChannel::Item item = answers.front().sequence_->place().channel->Take(timeout);
  PendingAnswer& answer = answers[item.answer];
  if (answer.left_) return {};  // it was given up, and this was on the way
  Piece piece = {item.answer, std::move(item.token), std::nullopt};
  if (piece.token) answer.Add(*piece.token);
  if (item.end) {
    answer.left_ = true;
    piece.end = answer.ResultOf(*item.end);
  }
  return piece;
}

}  // namespace fedglm
