#include "inference/api/upstream_pool.h"

#include <algorithm>
#include <random>
#include <regex>
#include <thread>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "inference/api/upstream_tokens.h"

namespace fedglm {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(50);  // how often the client is looked after meanwhile
constexpr size_t kMaxAnswerBytes = 64 << 20;
// Outcomes, as the metrics name them.
constexpr const char *kAnswered = "answered", *kBrokenOff = "broken_off", *kTimedOut = "timed_out";

// What waiting may mend: no answer, too many requests, a server's own trouble.
bool IsWorthARetry(const UpstreamHead& head) { return head.status == 0 || head.status == 429 || head.status >= 500; }

// Its own key or place is wrong, not the client's: never passed on.
bool IsMisconfigured(const UpstreamHead& head) {
  return head.status == 401 || head.status == 403 || head.status == 407 || (head.status >= 300 && head.status < 400);
}

}  // namespace

absl::StatusOr<std::unique_ptr<UpstreamPool>> UpstreamPool::Make(const std::vector<UpstreamOptions>& upstreams,
                                                                 const std::vector<std::string>& allow,
                                                                 double request_seconds, const Clock& clock,
                                                                 ApiMetrics& metrics) {
  static const std::regex url(R"((https?)://(\[[0-9a-fA-F:.]+\]|[^/:\[\]@?#]+)(:[0-9]{1,5})?/?)");
  FEDGLM_ASSIGN_OR_RETURN(SiteHosts hosts, SiteHosts::Parse(allow));
  std::unique_ptr<UpstreamPool> pool(new UpstreamPool(std::move(hosts), request_seconds, clock, metrics));
  for (const UpstreamOptions& options : upstreams) {
    std::smatch parts;
    if (options.url.size() > 512 || !std::regex_match(options.url, parts, url)) {
      return ConfigurationError("serve.upstream: '" + options.url + "' is not http://HOST:PORT or https://HOST:PORT");
    }
    Upstream upstream{options, parts[2].str(), ""};
    if (upstream.host.front() == '[') upstream.host = upstream.host.substr(1, upstream.host.size() - 2);
    if (upstream.options.url.back() == '/') upstream.options.url.pop_back();
    if (const absl::Status allowed = pool->hosts_.CheckHost(upstream.host); !allowed.ok()) {
      return ConfigurationError("serve.upstream: " + Message(allowed));
    }
    if (!options.api_key_file.empty()) {
      const absl::StatusOr<std::string> key = ReadFile(options.api_key_file, 4096);
      if (!key.ok()) return ConfigurationError("serve.upstream: " + Message(key.status()));
      upstream.api_key = key->substr(0, key->find_first_of("\r\n"));
    }
    pool->upstreams_.push_back(std::move(upstream));
  }
  MutexLock lock(pool->mutex_);
  pool->health_.resize(pool->upstreams_.size());
  return pool;
}

bool UpstreamPool::HasModel(const std::string& model) const {
  const std::vector<std::string> models = Models();
  return std::binary_search(models.begin(), models.end(), model);
}

bool UpstreamPool::HasFallback() const {
  return std::any_of(upstreams_.begin(), upstreams_.end(), [](const Upstream& u) { return u.options.fallback; });
}

std::vector<std::string> UpstreamPool::Models() const {
  std::vector<std::string> models;
  for (const Upstream& upstream : upstreams_) {
    models.insert(models.end(), upstream.options.models.begin(), upstream.options.models.end());
  }
  std::sort(models.begin(), models.end());
  models.erase(std::unique(models.begin(), models.end()), models.end());
  return models;
}

bool UpstreamPool::CoolingDown(size_t index) const {
  MutexLock lock(mutex_);
  return clock_.Now() < health_[index].cool_until;
}

void UpstreamPool::Count(size_t index, const std::string& outcome, bool failed) {
  const UpstreamOptions& options = upstreams_[index].options;
  metrics_.CountUpstream(options.url, outcome);
  MutexLock lock(mutex_);
  Health& health = health_[index];
  health.failures = failed ? health.failures + 1 : 0;
  if (health.failures < std::max(1, options.cooldown_failures)) return;
  health.failures = 0;
  const auto cooldown = static_cast<int64_t>(options.cooldown_seconds * 1000);
  health.cool_until = clock_.Now() + std::chrono::milliseconds(cooldown);
  LogWarning("upstream " + options.url + " failed too often: not asked for a while");
}

bool UpstreamPool::Answer(const std::shared_ptr<Exchange>& exchange, const std::string& path, const Json& body,
                          const std::string& model) {
  for (size_t i = 0; i < upstreams_.size(); ++i) {
    const UpstreamOptions& options = upstreams_[i].options;
    const bool its_own = std::find(options.models.begin(), options.models.end(), model) != options.models.end();
    if (!(model.empty() ? options.fallback : its_own) || CoolingDown(i)) continue;
    if (Try(i, exchange, path, body)) return true;
    if (GivenUp(*exchange)) return false;
  }
  return false;
}

bool UpstreamPool::Try(size_t index, const std::shared_ptr<Exchange>& exchange, const std::string& path,
                       const Json& body) {
  const Upstream& upstream = upstreams_[index];
  Json sent = body;
  if (!upstream.options.model.empty()) sent["model"] = upstream.options.model;
  double pause = upstream.options.backoff_seconds;
  for (int attempt = 0; attempt <= upstream.options.retries; ++attempt, pause *= 2) {
    if (attempt > 0) Pause(pause, *exchange);
    if (GivenUp(*exchange)) return false;
    UpstreamHead head;
    const std::shared_ptr<UpstreamCall> call = Call(upstream, *exchange, path, sent, head);
    if (call == nullptr || IsWorthARetry(head)) {
      if (exchange->Abandoned()) return false;
      Count(index,
            exchange->TimeIsUp(request_seconds_) ? kTimedOut
            : head.status == 0                   ? "unreachable"
                                                 : "refused",
            true);
      if (CoolingDown(index)) return false;
      continue;
    }
    if (IsMisconfigured(head)) {
      LogWarning("request=" + exchange->facts.id + " upstream " + upstream.options.url + " answers with status " +
                 std::to_string(head.status));
      Count(index, "misconfigured", true);
      return false;
    }
    if (head.content_type.rfind("text/event-stream", 0) == 0) {
      PassStream(index, exchange, call, head);
    } else if (PassWhole(exchange, *call, head)) {
      Count(index, kAnswered, false);
    } else {
      if (exchange->Abandoned()) return false;
      Count(index, exchange->TimeIsUp(request_seconds_) ? kTimedOut : kBrokenOff, true);
      continue;
    }
    exchange->facts.upstream = upstream.options.url;
    return true;
  }
  return false;
}

void UpstreamPool::PassStream(size_t index, const std::shared_ptr<Exchange>& exchange,
                              std::shared_ptr<UpstreamCall> call, const UpstreamHead& head) {
  exchange->SendStream(head.status, head.content_type, [this, index, exchange, call](const SendBytes& send) {
    StreamTokens tokens;
    while (!call->ended()) {
      const std::string bytes = call->Next(kPoll);
      exchange->facts.broken_off = GivenUp(*exchange) || (!bytes.empty() && !send(bytes));
      if (exchange->facts.broken_off) {
        const bool late = exchange->TimeIsUp(request_seconds_);
        Count(index, late ? kTimedOut : kAnswered, late);  // who leaves in the midst of it had an answer
        return false;
      }
      tokens.Add(bytes);
      exchange->facts.answer_tokens = tokens.count();
    }
    exchange->facts.broken_off = call->broken();
    Count(index, call->broken() ? kBrokenOff : kAnswered, call->broken());
    return !call->broken();
  });
}

// False if it broke off, is too large, or is given up: nothing has been sent then.
bool UpstreamPool::PassWhole(const std::shared_ptr<Exchange>& exchange, UpstreamCall& call,
                             const UpstreamHead& head) const {
  std::string body;
  while (!call.ended()) {
    body += call.Next(kPoll);
    if (GivenUp(*exchange) || body.size() > kMaxAnswerBytes) return false;
  }
  if (call.broken()) return false;
  exchange->facts.answer_tokens = TokensOfAnswer(body);
  exchange->Send(head.status, head.content_type, std::move(body));
  return true;
}

// `seconds`, of which half is left to chance, so that clients that failed together do not come back together.
void UpstreamPool::Pause(double seconds, const Exchange& exchange) const {
  thread_local std::minstd_rand random{std::random_device{}()};
  const double drawn = seconds * (0.5 + 0.5 * std::uniform_real_distribution<double>()(random));
  const Stopwatch waited;
  while (waited.Seconds() < drawn && !GivenUp(exchange)) {
    std::this_thread::sleep_for(std::min<std::chrono::duration<double>>(kPoll, std::chrono::duration<double>(drawn)));
  }
}

std::shared_ptr<UpstreamCall> UpstreamPool::Call(const Upstream& upstream, const Exchange& exchange,
                                                 const std::string& path, const Json& body, UpstreamHead& head) const {
  // Each time anew: what the name led to when the server started says nothing about now.
  const absl::StatusOr<std::string> address = hosts_.Resolve(upstream.host);
  if (!address.ok()) {
    LogWarning("request=" + exchange.facts.id + " upstream " + upstream.options.url + ": " + Message(address.status()));
    return nullptr;
  }
  UpstreamRequest request{upstream.options.url,
                          upstream.host,
                          *address,
                          path,
                          DumpJson(body),
                          upstream.api_key,
                          exchange.facts.id,
                          upstream.options.ca_file.string(),
                          upstream.options.connect_seconds,
                          upstream.options.read_seconds};
  auto call = std::make_shared<UpstreamCall>(std::move(request));
  while (!GivenUp(exchange)) {
    if (const std::optional<UpstreamHead> arrived = call->Head(kPoll)) {
      head = *arrived;
      return call;
    }
  }
  return nullptr;
}

}  // namespace fedglm
