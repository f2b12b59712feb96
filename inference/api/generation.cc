#include "inference/api/generation.h"

#include <algorithm>

namespace fedglm {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(50);  // how often the client is looked after meanwhile

}  // namespace

std::vector<GenerationRequest> MakeGenerationRequests(const ApiContext& context, const AnswerOptions& options,
                                                      const std::string& adapter,
                                                      const std::vector<std::vector<Token>>& prompts,
                                                      const AnswerGrammar& grammar) {
  std::vector<GenerationRequest> requests;
  for (const std::vector<Token>& prompt : prompts) {
    const int64_t room = context.engine.context() - static_cast<int64_t>(prompt.size());
    for (int choice = 0; choice < options.choices; ++choice) {
      GenerationRequest request;
      request.prompt = prompt;
      request.max_tokens = options.max_tokens > 0 ? std::min(options.max_tokens, room) : room;
      request.sampling = options.sampling;
      if (request.sampling.seed != 0) request.sampling.seed += static_cast<uint64_t>(choice);  // choices differ
      request.stop = options.stop;
      request.adapter = adapter;
      request.constraint = grammar.Constrain(context.token_trie);
      request.logprobs = options.logprobs;
      request.timeout_seconds = context.options.request_seconds;
      requests.push_back(std::move(request));
    }
  }
  return requests;
}

absl::StatusOr<std::unique_ptr<Generation>> Generation::Start(ApiContext& context, Exchange& exchange,
                                                              std::vector<GenerationRequest> requests) {
  FEDGLM_ASSIGN_OR_RETURN(std::vector<PendingAnswer> answers, context.engine.Take(std::move(requests)));
  std::unique_ptr<Generation> generation(new Generation(context, exchange, std::move(answers)));
  FEDGLM_ASSIGN_OR_RETURN(generation->first_, generation->Next());
  return generation;
}

std::optional<AnswerEvent> Generation::EventOf(PendingAnswer::Piece piece) const {
  AnswerEvent event{static_cast<int>(piece.answer), "", {}, std::move(piece.end)};
  if (piece.token) {
    AnswerToken& token = *piece.token;
    event.text = std::move(token.text);
    // The token that ends a turn is no part of the answer: it only brings text that was held back.
    if (token.of_answer && answers_[piece.answer].request().logprobs >= 0) {
      event.scores.push_back({{token.token, token.logprob}, std::move(token.top)});
    }
  }
  if (event.text.empty() && event.scores.empty() && !event.end) return std::nullopt;
  return event;
}

absl::StatusOr<std::optional<AnswerEvent>> Generation::Next() {
  if (first_) return std::exchange(first_, std::nullopt);
  while (running_ > 0) {
    PendingAnswer::Piece piece = PendingAnswer::NextOf(answers_, kPoll);
    if (exchange_.Abandoned()) {
      answers_.clear();  // gives them up
      running_ = 0;
      exchange_.facts.broken_off = true;
      return CancelledError("the server is stopping");
    }
    std::optional<AnswerEvent> event = EventOf(std::move(piece));
    if (!event) continue;
    if (event->end) --running_;
    FEDGLM_RETURN_IF_ERROR(Account(*event));
    return event;
  }
  return std::optional<AnswerEvent>();
}

absl::Status Generation::Account(const AnswerEvent& event) {
  const bool refused = event.end && !event.end->ok();
  if (refused) return event.end->status();
  if (!token_seen_) {
    token_seen_ = true;
    context_.metrics.ObserveFirstToken(exchange_.since_arrival().Seconds());
  }
  if (!event.end) return absl::OkStatus();
  const GenerationResult& result = **event.end;
  // Nobody but the deadline cancels an answer whose client is there.
  if (result.reason == FinishReason::kCancelled) return absl::DeadlineExceededError("the answer took too long");
  context_.metrics.ObserveResult(result);
  usage_.answer += static_cast<int64_t>(result.tokens.size());
  // Choices of one prompt share it: OpenAI counts it once.
  usage_.prompt = exchange_.facts.prompt_tokens;
  usage_.cached = std::min(usage_.prompt, usage_.cached + result.cached_tokens);
  exchange_.facts.answer_tokens = usage_.answer;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<GenerationResult>> Generation::Collect() {
  std::vector<GenerationResult> results;
  while (true) {
    FEDGLM_ASSIGN_OR_RETURN(std::optional<AnswerEvent> event, Next());
    if (!event) return results;
    if (!event->end) continue;
    results.resize(std::max(results.size(), static_cast<size_t>(event->choice) + 1));
    results[static_cast<size_t>(event->choice)] = *std::move(*event->end);
  }
}

}  // namespace fedglm
