// What a server of the API is told: from `fedglm serve`'s flags, or from the table [serve] of a configuration file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/configuration.h"
#include "base/status.h"
#include "inference/api/upstream_pool.h"

namespace fedglm {

struct ApiOptions {
  std::string host = "127.0.0.1";
  int port = 0;                                    // 0: a free one
  std::string model_name;                          // empty: general.name of the model
  std::filesystem::path api_keys;                  // see api_keys.h; empty: no key is asked for
  std::filesystem::path tls_certificate, tls_key;  // PEM, both or none
  bool insecure_open = false;                      // serve others than this machine without keys or without TLS
  double request_seconds = 600;                    // of one answer, waiting included; 0: no limit
  double stop_seconds = 5;                         // how long Stop() waits for answers
  int idle_seconds = 5;                            // a connection without a request is closed
  std::vector<UpstreamOptions> upstreams;
  std::vector<std::string> upstream_allow;  // host names, addresses, networks inside the site
};

// Configuration unless the address is a loopback one, or there are keys and TLS, or insecure_open says that it is
// meant; also for a certificate without its key.
absl::Status CheckExposure(const ApiOptions& options);

// serve.listen, .model_name, .api_keys, .tls_certificate, .tls_key, .insecure_open, .request_timeout, .idle_timeout,
// .stop_grace, .upstream_allow and each [[serve.upstream]]: url, model, models, fallback, api_key_file, ca_file,
// connect_timeout, read_timeout, retries, backoff, cooldown_failures, cooldown (times in seconds). What is not there
// stays as it is in `defaults`.
absl::StatusOr<ApiOptions> ReadApiOptions(Configuration& configuration, const ApiOptions& defaults);

}  // namespace fedglm
