// How fast each API key may go: token buckets for requests and for tokens, and a count of requests at once.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/thread_annotations.h"
#include "inference/api/api_keys.h"

namespace fedglm {

// Holds `per_minute` at most and is filled up with as many each minute. May go below zero by what was taken afterwards.
struct TokenBucket {
  double level = 0;
  std::chrono::system_clock::time_point filled;

  void Fill(int64_t per_minute, std::chrono::system_clock::time_point now);
  double SecondsUntil(double wanted, int64_t per_minute) const;
};

struct RateDecision {
  bool allowed = true;
  std::string limit;  // requests, tokens or parallel: what refused it
  int retry_after_seconds = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // OpenAI's x-ratelimit-*
};

// Thread-safe. Keys are told apart by their ids; a key's limits may change between two requests.
class RateLimiter {
 public:
  explicit RateLimiter(const Clock& clock) : clock_(clock) {}

  // Takes one request and one place of `key`. The place is given back with Leave, also after a later refusal; not if
  // this call refuses.
  RateDecision Enter(const ApiKey& key);
  void Leave(const ApiKey& key);

  // Takes the prompt's tokens before it is computed. A prompt above a whole minute's tokens needs a full bucket.
  RateDecision TakePrompt(const ApiKey& key, int64_t tokens);
  // The answer's tokens are counted when it has been written; what is too much delays the next request.
  void CountAnswer(const ApiKey& key, int64_t tokens);

 private:
  struct Account {
    TokenBucket requests, tokens;
    int64_t running = 0;
    bool known = false;
  };
  Account& Refresh(const ApiKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  RateDecision Decide(const ApiKey& key, const Account& account, const char* limit, double wait) const;

  const Clock& clock_;
  Mutex mutex_;
  std::unordered_map<std::string, Account> accounts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedglm
