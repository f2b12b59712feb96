// Several answers of the engine at once (n choices), as one stream of events. The engine's callbacks run in threads of
// their own, so whoever reads the events may wait for a slow client, or look whether it is still there.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "base/thread_annotations.h"
#include "inference/api/logprobs_json.h"
#include "inference/engine/engine.h"

namespace fedglm {

struct AnswerEvent {
  int choice = 0;
  std::string text;
  std::vector<ScoredToken> scores;                      // of the tokens that came with the text; only if asked for
  std::optional<absl::StatusOr<GenerationResult>> end;  // of this choice: nothing comes after it
};

// Thread-safe. `engine` must outlive it.
class ParallelAnswers {
 public:
  // Errors as Engine::Take.
  static absl::StatusOr<std::unique_ptr<ParallelAnswers>> Start(Engine& engine,
                                                                std::vector<GenerationRequest> requests);
  ~ParallelAnswers();  // cancels what still runs, and waits for it

  // The next event in the order they came; nothing if none came in time, or if all answers have ended.
  std::optional<AnswerEvent> Next(std::chrono::milliseconds timeout);
  bool ended() const;  // every choice has, and its events have been read
  void Cancel() { cancelled_ = true; }

 private:
  ParallelAnswers(const Tokenizer& tokenizer, size_t answers) : tokenizer_(tokenizer), running_(answers) {}
  void Follow(int choice, PendingAnswer answer);
  void Run(int choice, PendingAnswer& answer);
  void Put(AnswerEvent event);

  const Tokenizer& tokenizer_;
  std::atomic<bool> cancelled_{false};
  mutable Mutex mutex_;
  std::condition_variable arrived_;
  std::deque<AnswerEvent> events_ ABSL_GUARDED_BY(mutex_);
  size_t running_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace fedglm
