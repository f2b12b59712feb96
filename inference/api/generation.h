// From prompts to answers: one engine request for each choice, started so that a refusal is known before anything is
// sent.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "inference/api/answer_json.h"
#include "inference/api/answer_options.h"
#include "inference/api/api_context.h"
#include "inference/api/logprobs_json.h"
#include "inference/api/output_grammar.h"

namespace fedglm {

// One request for each prompt and choice: choices of the first prompt first.
std::vector<GenerationRequest> MakeGenerationRequests(const ApiContext& context, const AnswerOptions& options,
                                                      const std::string& adapter,
                                                      const std::vector<std::vector<Token>>& prompts,
                                                      const AnswerGrammar& grammar);

struct AnswerEvent {
  int choice = 0;
  std::string text;
  std::vector<ScoredToken> scores;                      // of the tokens that came with the text; only if asked for
  std::optional<absl::StatusOr<GenerationResult>> end;  // of this choice: nothing comes after it
};

// Answers that have begun. Used by one thread, which may wait for a slow client: while it does not read, no answer has
// more than AnswerChannel::kCapacity tokens on the way, and the engine computes others.
class Generation {
 public:
  // Starts `requests` and waits for their first token. The engine's own errors; Cancelled if the client has gone or the
  // server stops; DeadlineExceeded after ApiOptions::request_seconds.
  static absl::StatusOr<std::unique_ptr<Generation>> Start(ApiContext& context, Exchange& exchange,
                                                           std::vector<GenerationRequest> requests);

  // The next event in the order they came, waiting for it; nothing at the end. Errors as Start's, after which there is
  // nothing more.
  absl::StatusOr<std::optional<AnswerEvent>> Next();
  // All answers, whole, in the order of their requests.
  absl::StatusOr<std::vector<GenerationResult>> Collect();

  const TokenUsage& usage() const { return usage_; }  // of the answers that have ended

 private:
  Generation(ApiContext& context, Exchange& exchange, std::vector<PendingAnswer> answers)
      : context_(context), exchange_(exchange), answers_(std::move(answers)), running_(answers_.size()) {}
  // Nothing if the piece shows nothing.
  std::optional<AnswerEvent> EventOf(PendingAnswer::Piece piece) const;
  absl::Status Account(const AnswerEvent& event);

  ApiContext& context_;
  Exchange& exchange_;
  std::vector<PendingAnswer> answers_;
  size_t running_;  // answers that have not ended
  std::optional<AnswerEvent> first_;
  TokenUsage usage_;
  bool token_seen_ = false;
};

}  // namespace fedglm
