// One request while it waits and runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "inference/cache/prefix_tree.h"
#include "inference/cache/sequence_cache.h"
#include "inference/engine/adapter_table.h"
#include "inference/engine/answer_channel.h"
#include "inference/engine/generation.h"
#include "inference/engine/text_stream.h"
#include "inference/sampling/sampler.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

// What the sampler took from one row of logits.
struct TokenChoice {
  Token token = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top;
};

enum class SequencePurpose { kAnswer, kEmbedding };

// Where a sequence's tokens go.
struct AnswerPlace {
  std::shared_ptr<AnswerChannel> channel;
  size_t answer = 0;  // its number there
};

// The request, its place in the channel and `abandoned` are for any thread; all else is the scheduler's.
class Sequence {
 public:
  // `adapter`: nullopt follows what SetAdapter says, from token to token.
  Sequence(GenerationRequest request, SequencePurpose purpose, std::optional<InstalledAdapter> adapter, PagePool& pages,
           AnswerPlace place);

  const GenerationRequest& request() const { return request_; }
  SequencePurpose purpose() const { return purpose_; }
  const AnswerPlace& place() const { return place_; }
  bool HasRoom() const { return place_.channel->HasRoom(place_.answer); }
  std::atomic<bool> abandoned{false};  // nobody waits for the answer any more

  uint64_t arrival = 0;  // the older goes first, and keeps its pages longer

  // The prompt, then the answer so far. The last one's keys and values are never there: it is what is computed next.
  std::span<const Token> tokens() const { return tokens_; }
  int64_t pending() const { return static_cast<int64_t>(tokens_.size()) - cache.length(); }
  int64_t answered() const { return static_cast<int64_t>(tokens_.size() - request_.prompt.size()); }
  std::span<const Token> Next(int64_t count) const {
    return tokens().subspan(static_cast<size_t>(cache.length()), static_cast<size_t>(count));
  }

  SequenceCache cache;
  PrefixOwner owner;            // whose keys and values those in the cache are
  bool mixed = false;           // two adapters' are in the cache: it is no prefix for another
  int64_t published_pages = 0;  // of the cache, that the prefix tree has
  int64_t cached_tokens = 0;    // of the prompt, that were found in the prefix tree
  int64_t computed = 0;         // the most positions that were ever computed: what is computed below is computed again

  // The adapter to compute with now. Notices when it is another one than the cache's.
  InstalledAdapter AdapterNow(const InstalledAdapter& current);

  // Runs in parallel with other sequences' Choose. logits: [vocabulary], is overwritten.
  TokenChoice Choose(std::span<float> logits);
  // Takes the token into the answer and sends it. Set if that ends the answer.
  std::optional<FinishReason> Accept(TokenChoice choice, const Tokenizer& tokenizer, int64_t context);

  // Of an embedding: adds hidden states, [rows][width].
  void AddHidden(std::span<const float> rows, size_t width);
  void ForgetHidden() { hidden_sum_.clear(); }

  void Admitted();  // it runs, for the first time or again
  // Lets go of the adapter, whoever holds the sequence longer, and sends the end of the answer.
  void Finish(const absl::Status& status, FinishReason reason);

 private:
  std::vector<float> Embedding() const;

  const GenerationRequest request_;
  const SequencePurpose purpose_;
  std::optional<InstalledAdapter> adapter_;
  const AnswerPlace place_;
  std::vector<Token> tokens_;
  Sampler sampler_;
  TextStream text_;
  std::vector<double> hidden_sum_;

  const Stopwatch since_arrival_;
  std::optional<double> admitted_, first_token_;  // seconds after the arrival
};

}  // namespace fedglm
