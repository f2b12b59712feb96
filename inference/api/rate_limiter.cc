#include "inference/api/rate_limiter.h"

#include <algorithm>
#include <cmath>

namespace fedglm {
namespace {

// As OpenAI writes it: "12ms", "1.5s", "1m0s".
std::string DurationText(double seconds) {
  const auto milliseconds = static_cast<int64_t>(std::ceil(std::max(0.0, seconds) * 1000));
  if (milliseconds < 1000) return std::to_string(milliseconds) + "ms";
  const int64_t whole = (milliseconds + 999) / 1000;
  if (whole < 60) return std::to_string(whole) + "s";
  return std::to_string(whole / 60) + "m" + std::to_string(whole % 60) + "s";
}

void AddHeaders(const char* what, const TokenBucket& bucket, int64_t per_minute, RateDecision& decision) {
  if (per_minute == 0) return;
  const std::string name = what;
  decision.headers.emplace_back("x-ratelimit-limit-" + name, std::to_string(per_minute));
  decision.headers.emplace_back("x-ratelimit-remaining-" + name,
                                std::to_string(static_cast<int64_t>(std::max(0.0, bucket.level))));
  decision.headers.emplace_back("x-ratelimit-reset-" + name,
                                DurationText(bucket.SecondsUntil(static_cast<double>(per_minute), per_minute)));
}

}  // namespace

void TokenBucket::Fill(int64_t per_minute, std::chrono::system_clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - filled).count();
  // A clock that was set back fills nothing, and is followed.
  const auto capacity = static_cast<double>(per_minute);
  level = std::min(capacity, level + std::max(0.0, seconds) * capacity / 60);
  filled = now;
}

double TokenBucket::SecondsUntil(double wanted, int64_t per_minute) const {
  return per_minute == 0 ? 0 : std::max(0.0, (wanted - level) * 60 / static_cast<double>(per_minute));
}

RateLimiter::Account& RateLimiter::Refresh(const ApiKey& key) {
  Account& account = accounts_[key.id];
  const auto now = clock_.Now();
  if (!account.known) {
    account.known = true;
    account.requests = {static_cast<double>(key.limits.requests_per_minute), now};
    account.tokens = {static_cast<double>(key.limits.tokens_per_minute), now};
  }
  account.requests.Fill(key.limits.requests_per_minute, now);
  account.tokens.Fill(key.limits.tokens_per_minute, now);
  return account;
}

RateDecision RateLimiter::Decide(const ApiKey& key, const Account& account, const char* limit, double wait) const {
  RateDecision decision;
  if (limit != nullptr) {
    decision.allowed = false;
    decision.limit = limit;
    decision.retry_after_seconds = std::max(1, static_cast<int>(std::ceil(wait)));
  }
  AddHeaders("requests", account.requests, key.limits.requests_per_minute, decision);
  AddHeaders("tokens", account.tokens, key.limits.tokens_per_minute, decision);
  return decision;
}

RateDecision RateLimiter::Enter(const ApiKey& key) {
  MutexLock lock(mutex_);
  Account& account = Refresh(key);
  const KeyLimits& limits = key.limits;
  if (limits.parallel > 0 && account.running >= limits.parallel) return Decide(key, account, "parallel", 1);
  if (limits.requests_per_minute > 0 && account.requests.level < 1) {
    return Decide(key, account, "requests", account.requests.SecondsUntil(1, limits.requests_per_minute));
  }
  if (limits.tokens_per_minute > 0 && account.tokens.level <= 0) {
    return Decide(key, account, "tokens", account.tokens.SecondsUntil(1, limits.tokens_per_minute));
  }
  ++account.running;
  if (limits.requests_per_minute > 0) account.requests.level -= 1;
  return Decide(key, account, nullptr, 0);
}

void RateLimiter::Leave(const ApiKey& key) {
  MutexLock lock(mutex_);
  --accounts_[key.id].running;
}

RateDecision RateLimiter::TakePrompt(const ApiKey& key, int64_t tokens) {
  MutexLock lock(mutex_);
  Account& account = Refresh(key);
  const int64_t per_minute = key.limits.tokens_per_minute;
  const auto needed = static_cast<double>(std::min(tokens, per_minute));
  if (per_minute > 0 && account.tokens.level < needed) {
    return Decide(key, account, "tokens", account.tokens.SecondsUntil(needed, per_minute));
  }
  if (per_minute > 0) account.tokens.level -= static_cast<double>(tokens);
  return Decide(key, account, nullptr, 0);
}

void RateLimiter::CountAnswer(const ApiKey& key, int64_t tokens) {
  MutexLock lock(mutex_);
  Account& account = Refresh(key);
  if (key.limits.tokens_per_minute > 0) account.tokens.level -= static_cast<double>(tokens);
}

}  // namespace fedglm
