#include "inference/api/api_options.h"

#include "base/listen_address.h"

namespace fedglm {
namespace {

constexpr size_t kMaxUpstreams = 32;
constexpr double kMaxSeconds = 86400;

bool IsLoopback(const std::string& host) { return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0; }

absl::StatusOr<UpstreamOptions> ReadUpstream(Configuration& c, const std::string& at) {
  UpstreamOptions u;
  FEDGLM_ASSIGN_OR_RETURN(u.url, c.RequiredString(at + ".url"));
  FEDGLM_ASSIGN_OR_RETURN(u.model, c.String(at + ".model", ""));
  FEDGLM_ASSIGN_OR_RETURN(u.models, c.Strings(at + ".models", {}));
  FEDGLM_ASSIGN_OR_RETURN(u.fallback, c.Bool(at + ".fallback", u.fallback));
  FEDGLM_ASSIGN_OR_RETURN(u.api_key_file, c.Path(at + ".api_key_file", ""));
  FEDGLM_ASSIGN_OR_RETURN(u.ca_file, c.Path(at + ".ca_file", ""));
  FEDGLM_ASSIGN_OR_RETURN(u.connect_seconds, c.Number(at + ".connect_timeout", u.connect_seconds, 0.01, kMaxSeconds));
  FEDGLM_ASSIGN_OR_RETURN(u.read_seconds, c.Number(at + ".read_timeout", u.read_seconds, 0.01, kMaxSeconds));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t retries, c.Integer(at + ".retries", u.retries, 0, 10));
  u.retries = static_cast<int>(retries);
  FEDGLM_ASSIGN_OR_RETURN(u.backoff_seconds, c.Number(at + ".backoff", u.backoff_seconds, 0, 60));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t failures, c.Integer(at + ".cooldown_failures", u.cooldown_failures, 1, 1000));
  u.cooldown_failures = static_cast<int>(failures);
  FEDGLM_ASSIGN_OR_RETURN(u.cooldown_seconds, c.Number(at + ".cooldown", u.cooldown_seconds, 0, kMaxSeconds));
  return u;
}

}  // namespace

absl::Status CheckExposure(const ApiOptions& options) {
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    return ConfigurationError("TLS needs both a certificate and its key");
  }
  const bool protected_well = !options.api_keys.empty() && !options.tls_certificate.empty();
  if (IsLoopback(options.host) || protected_well || options.insecure_open) return absl::OkStatus();
  return ConfigurationError("'" + options.host +
                            "' can be reached from other machines: that needs API keys and TLS (--api-keys, "
                            "--tls-certificate, --tls-key), or --insecure-open if everybody there may use the model "
                            "and read what is asked");
}

absl::StatusOr<ApiOptions> ReadApiOptions(Configuration& c, const ApiOptions& defaults) {
  ApiOptions o = defaults;
  const bool brackets = o.host.find(':') != std::string::npos;
  const std::string fallback = (brackets ? "[" + o.host + "]" : o.host) + ":" + std::to_string(o.port);
  FEDGLM_ASSIGN_OR_RETURN(const std::string listen, c.String("serve.listen", fallback));
  const absl::StatusOr<ListenAddress> address = ParseListenAddress(listen);
  if (!address.ok()) return ConfigurationError("serve.listen: " + Message(address.status()));
  o.host = address->host;
  o.port = address->port;
  FEDGLM_ASSIGN_OR_RETURN(o.model_name, c.String("serve.model_name", o.model_name));
  FEDGLM_ASSIGN_OR_RETURN(o.api_keys, c.Path("serve.api_keys", o.api_keys));
  FEDGLM_ASSIGN_OR_RETURN(o.tls_certificate, c.Path("serve.tls_certificate", o.tls_certificate));
  FEDGLM_ASSIGN_OR_RETURN(o.tls_key, c.Path("serve.tls_key", o.tls_key));
  FEDGLM_ASSIGN_OR_RETURN(o.insecure_open, c.Bool("serve.insecure_open", o.insecure_open));
  FEDGLM_ASSIGN_OR_RETURN(o.request_seconds, c.Number("serve.request_timeout", o.request_seconds, 0, kMaxSeconds));
  FEDGLM_ASSIGN_OR_RETURN(o.stop_seconds, c.Number("serve.stop_grace", o.stop_seconds, 0, kMaxSeconds));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t idle, c.Integer("serve.idle_timeout", o.idle_seconds, 1, 3600));
  o.idle_seconds = static_cast<int>(idle);
  FEDGLM_ASSIGN_OR_RETURN(o.upstream_allow, c.Strings("serve.upstream_allow", o.upstream_allow));
  FEDGLM_ASSIGN_OR_RETURN(const size_t upstreams, c.TableCount("serve.upstream"));
  if (upstreams > kMaxUpstreams) {
    return ConfigurationError("serve.upstream: more than " + std::to_string(kMaxUpstreams));
  }
  for (size_t i = 0; i < upstreams; ++i) {
    FEDGLM_ASSIGN_OR_RETURN(UpstreamOptions upstream, ReadUpstream(c, "serve.upstream[" + std::to_string(i) + "]"));
    o.upstreams.push_back(std::move(upstream));
  }
  return o;
}

}  // namespace fedglm
