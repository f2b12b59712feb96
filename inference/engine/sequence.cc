#include "inference/engine/sequence.h"

#include <cmath>
#include <utility>

#include "inference/engine/logprobs.h"

namespace fedglm {

Sequence::Sequence(GenerationRequest request, SequencePurpose purpose, std::optional<InstalledAdapter> adapter,
                   PagePool& pages, AnswerPlace place)
    : cache(pages, KvFormat::kFloat16),
      request_(std::move(request)),
      purpose_(purpose),
      adapter_(std::move(adapter)),
      place_(std::move(place)),
      tokens_(request_.prompt),
      sampler_(request_.sampling),
      text_(request_.stop) {
  for (const Token token : request_.prompt) sampler_.Accept(token);
}

InstalledAdapter Sequence::AdapterNow(const InstalledAdapter& current) {
  const InstalledAdapter& adapter = adapter_ ? *adapter_ : current;
  if (adapter.generation != owner.adapter) {
    mixed = cache.length() > 0;
    owner.adapter = adapter.generation;
  }
  return adapter;
}

TokenChoice Sequence::Choose(std::span<float> logits) {
  TokenChoice choice;
  double log_sum_exp = 0;
  std::vector<float> before_mask;
  if (request_.logprobs >= 0) {
    log_sum_exp = LogSumExp(logits);
    choice.top = LikeliestTokens(logits, request_.logprobs, log_sum_exp);
    if (request_.constraint != nullptr) before_mask.assign(logits.begin(), logits.end());
  }
  if (request_.constraint != nullptr) request_.constraint->Mask(logits);
  choice.token = sampler_.Sample(logits);
  if (request_.logprobs >= 0) {
    const auto index = static_cast<size_t>(choice.token);
    choice.logprob = static_cast<float>((before_mask.empty() ? logits[index] : before_mask[index]) - log_sum_exp);
  }
  return choice;
}

std::optional<FinishReason> Sequence::Accept(TokenChoice choice, const Tokenizer& tokenizer, int64_t context) {
  if (!first_token_) first_token_ = since_arrival_.Seconds();
  if (!request_.ignore_end && tokenizer.EndsGeneration(choice.token)) {
    if (std::string rest = text_.Flush(); !rest.empty()) {
      place_.channel->Put(place_.answer,
                          {choice.token, std::move(rest), choice.logprob, std::move(choice.top), /*of_answer=*/false});
    }
    return FinishReason::kStop;
  }
  sampler_.Accept(choice.token);
  if (request_.constraint != nullptr) request_.constraint->Accept(choice.token);
  tokens_.push_back(choice.token);
  std::string shown = text_.Push(tokenizer.Piece(choice.token));
  std::optional<FinishReason> reason;
  if (text_.stopped()) {
    reason = FinishReason::kStop;
  } else if (answered() >= request_.max_tokens || cache.length() >= context) {
    reason = FinishReason::kLength;
    shown += text_.Flush();
  }
  place_.channel->Put(place_.answer, {choice.token, std::move(shown), choice.logprob, std::move(choice.top)});
  return reason;
}

void Sequence::AddHidden(std::span<const float> rows, size_t width) {
  hidden_sum_.resize(width, 0.0);
  for (size_t i = 0; i < rows.size(); ++i) hidden_sum_[i % width] += rows[i];
}

std::vector<float> Sequence::Embedding() const {
  double squares = 0;
  for (const double x : hidden_sum_) squares += x * x;
  const double scale = squares > 0 ? 1.0 / std::sqrt(squares) : 0.0;
  std::vector<float> embedding;
  for (const double x : hidden_sum_) embedding.push_back(static_cast<float>(x * scale));
  return embedding;
}

void Sequence::Admitted() {
  if (!admitted_) admitted_ = since_arrival_.Seconds();
}

void Sequence::Finish(const absl::Status& status, FinishReason reason) {
  const double now = since_arrival_.Seconds(), admitted = admitted_.value_or(now), first = first_token_.value_or(now);
  adapter_.reset();
  AnswerEnd end{status, reason, cached_tokens, admitted, first - admitted, now - first, Embedding()};
  place_.channel->Close(place_.answer, std::move(end));
}

}  // namespace fedglm
