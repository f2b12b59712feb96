// Answers on their way from the engine's thread to the thread that asked for them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_annotations.h"
#include "inference/engine/generation.h"

namespace fedglm {

struct AnswerToken {
  Token token = 0;
  std::string text;
  float logprob = 0;
  std::vector<TokenLogprob> top;
  bool of_answer = true;  // false: an end-of-turn token, here for the text that was held back
};

struct AnswerEnd {
  absl::Status status;
  FinishReason reason = FinishReason::kStop;
  int64_t cached_tokens = 0;
  double queue_seconds = 0, prefill_seconds = 0, decode_seconds = 0;
  std::vector<float> embedding;  // of Embed
};

// The answers of requests that were taken together, numbered from 0. Thread-safe. The engine never waits: it leaves out
// an answer that has no room, and computes the others.
class AnswerChannel {
 public:
  // Tokens of one answer that may be on the way. With fewer, an answer would stand still whenever its reader is not at
  // once awake.
  static constexpr size_t kCapacity = 16;

  // `on_room` is called, from the reader's thread, when an answer that had no room has some again.
  AnswerChannel(size_t answers, std::function<void()> on_room)
      : on_room_(std::move(on_room)), tokens_on_the_way_(answers, 0) {}

  bool HasRoom(size_t answer) const;
  void Put(size_t answer, AnswerToken token);
  void Close(size_t answer, AnswerEnd end);  // the last thing that is put of this answer

  // A token or the end of an answer; neither if nothing came in time.
  struct Item {
    size_t answer = 0;
    std::optional<AnswerToken> token;
    std::optional<AnswerEnd> end;
  };
  // What came first: of all answers, or of one.
  Item Take(std::chrono::milliseconds timeout);
  Item TakeOf(size_t answer, std::chrono::milliseconds timeout);

 private:
  Item TakeFirst(std::optional<size_t> answer, std::chrono::milliseconds timeout);
  void Append(Item item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::function<void()> on_room_;
  mutable Mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Item> items_ ABSL_GUARDED_BY(mutex_);                 // as they came
  std::vector<size_t> tokens_on_the_way_ ABSL_GUARDED_BY(mutex_);  // by answer
};

}  // namespace fedglm
