// An answer on its way from the engine's thread to the thread that asked for it.
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

// Thread-safe, for one on either side. The engine never waits: it leaves out an answer that has no room.
class AnswerChannel {
 public:
  // Tokens that may be on the way. With fewer, an answer would stand still whenever its reader is not at once awake.
  static constexpr size_t kCapacity = 16;

  // `on_room` is called, from the reader's thread, when a full channel has room again.
  explicit AnswerChannel(std::function<void()> on_room) : on_room_(std::move(on_room)) {}

  bool HasRoom() const;
  void Put(AnswerToken token);
  void Close(AnswerEnd end);  // the last thing that is put

  // The next token, or after the last one the end; neither if nothing comes within `timeout`.
  struct Item {
    std::optional<AnswerToken> token;
    std::optional<AnswerEnd> end;
  };
  Item Take(std::chrono::milliseconds timeout);

 private:
  const std::function<void()> on_room_;
  mutable Mutex mutex_;
  std::condition_variable arrived_;
  std::deque<AnswerToken> tokens_ ABSL_GUARDED_BY(mutex_);
  std::optional<AnswerEnd> end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedglm
