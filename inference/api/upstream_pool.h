// Other servers of the same site that answer where this one cannot: for models that are theirs, and, when this server's
// queue or memory is full, instead of a refusal. Off unless the configuration names some.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json_forward.h"
#include "base/status.h"
#include "base/thread_annotations.h"
#include "inference/api/api_metrics.h"
#include "inference/api/exchange.h"
#include "inference/api/site_hosts.h"
#include "inference/api/upstream_call.h"

namespace fedglm {

struct UpstreamOptions {
  std::string url;                     // "http://HOST:PORT" or https, without a path
  std::string model;                   // what the upstream calls its model; empty: what the client asked for
  std::vector<std::string> models;     // names that clients ask for and that always go there
  bool fallback = true;                // answers also when this server must refuse
  std::filesystem::path api_key_file;  // its key, one line; empty: none
  std::filesystem::path ca_file;       // PEM; empty: the system's
  double connect_seconds = 5, read_seconds = 120;  // read: without a byte
  int retries = 2;                                 // after the first attempt, of what may be mended by waiting
  double backoff_seconds = 0.25;                   // before the first retry; doubled for each, half of it by chance
  int cooldown_failures = 3;                       // in a row; then nothing is sent to it for …
  double cooldown_seconds = 30;
};

// Thread-safe.
class UpstreamPool {
 public:
  // `request_seconds`: of one answer, this server's own attempts included; 0: no limit. Configuration if an URL is
  // none, a host is not in `allow`, or a file cannot be read.
  static absl::StatusOr<std::unique_ptr<UpstreamPool>> Make(const std::vector<UpstreamOptions>& upstreams,
                                                            const std::vector<std::string>& allow,
                                                            double request_seconds, const Clock& clock,
                                                            ApiMetrics& metrics);

  bool HasModel(const std::string& model) const;
  bool HasFallback() const;
  std::vector<std::string> Models() const;  // all that are mapped, sorted

  // Hands `body` to the upstreams of `model` (or, with model empty, to the fallbacks) in their order until one answers,
  // and passes that answer on. False: none did, and nothing was sent to the client.
  bool Answer(const std::shared_ptr<Exchange>& exchange, const std::string& path, const Json& body,
              const std::string& model);

 private:
  struct Upstream {
    UpstreamOptions options;
    std::string host, api_key;
  };
  struct Health {
    int failures = 0;  // in a row
    std::chrono::system_clock::time_point cool_until{};
  };
  UpstreamPool(SiteHosts hosts, double request_seconds, const Clock& clock, ApiMetrics& metrics)
      : hosts_(std::move(hosts)), request_seconds_(request_seconds), clock_(clock), metrics_(metrics) {}

  bool GivenUp(const Exchange& exchange) const { return exchange.Abandoned() || exchange.TimeIsUp(request_seconds_); }
  bool Try(size_t index, const std::shared_ptr<Exchange>& exchange, const std::string& path, const Json& body);
  std::shared_ptr<UpstreamCall> Call(const Upstream& upstream, const Exchange& exchange, const std::string& path,
                                     const Json& body, UpstreamHead& head) const;
  void PassStream(size_t index, const std::shared_ptr<Exchange>& exchange, std::shared_ptr<UpstreamCall> call,
                  const UpstreamHead& head);
  bool PassWhole(const std::shared_ptr<Exchange>& exchange, UpstreamCall& call, const UpstreamHead& head) const;
  void Pause(double seconds, const Exchange& exchange) const;
  bool CoolingDown(size_t index) const;
  void Count(size_t index, const std::string& outcome, bool failed);

  const SiteHosts hosts_;
  const double request_seconds_;
  const Clock& clock_;
  ApiMetrics& metrics_;
  std::vector<Upstream> upstreams_;  // constant once made
  mutable Mutex mutex_;
  std::vector<Health> health_ ABSL_GUARDED_BY(mutex_);  // by upstream
};

}  // namespace fedglm
