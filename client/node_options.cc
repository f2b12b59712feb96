#include "client/node_options.h"

#include <algorithm>
#include <optional>

#include "base/listen_address.h"
#include "base/process.h"
#include "proto/site_name.h"

namespace fedglm {
namespace {

// A line "# key = value" shows a default that is seldom changed; a test reads the file with and without them.
constexpr char kFirstFile[] =
    R"(# The configuration of fedglm-node. Paths are relative to this file's folder. A variable of the environment
# overrides a key: FEDGLM_SERVE_LISTEN. docs/federation-protocol.md lists every key, docs/api.md those of [serve].

model = "model.gguf"              # the federation's base, the same file at every site

[records]                         # JSON Lines; not below state_dir, which the process with the network may read
train = ["/srv/records/train.jsonl"]
# held_out = []                   # new adapters are evaluated on them; without them on a tenth of `train`

[federation]
site = "my-site"                  # as the token says: letters, digits and '-'
token_file = "site.token"         # needed until the site is enrolled

[node]
state_dir = "state"

[serve]
listen = "127.0.0.1:8080"         # another interface needs the next three; port 0: a free one
# api_keys = "keys/keys"          # made by `fedglm api-key new`
# tls_certificate = "cert.pem"
# tls_key = "key.pem"
# memory_budget = "3GiB"          # default: what the control group or the machine allows
# context = 0                     # tokens of one answer; 0: the model's own, at most 8192
# kv_type = "f16"                 # q8_0: keys and values in half the memory
# parallel = 8                    # answers that are written together
# queue = 16                      # requests that wait beside them
# autotune = true                 # measure once how many threads are fastest
# pin_threads = "off"             # or on, auto
# request_timeout = 600           # seconds of one answer; 0: none
# idle_timeout = 5
# stop_grace = 5

[training]
# threads = 0                     # of the trainer and of the engine; 0: physical cores, and what was measured
# micro_batch_tokens = 512        # tokens in memory at once

[privacy]
# max_update_norm = 0.0           # the update is scaled down to this L2 norm; 0: no bound

[adapter]
# max_regression = 0.05           # an adapter whose held-out loss is worse by more than this part does not answer here

[log]
level = "info"                    # or debug, warning, error
# file = "log/node.log"           # default: stderr; in a folder without records
# json = false
)";

std::filesystem::path Normal(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path canonical = std::filesystem::weakly_canonical(path, error);
  return error ? std::filesystem::absolute(path).lexically_normal() : canonical;
}

bool LiesBelow(const std::filesystem::path& path, const std::filesystem::path& folder) {
  const std::filesystem::path inner = Normal(path), outer = Normal(folder);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

absl::Status ReadServing(Configuration& c, NodeOptions& o) {
  FEDGLM_ASSIGN_OR_RETURN(o.serve, ReadApiOptions(c, {}));
  FEDGLM_RETURN_IF_ERROR(CheckExposure(o.serve));
  FEDGLM_ASSIGN_OR_RETURN(o.engine.context, c.Integer("serve.context", o.engine.context, 0, 1 << 20));
  FEDGLM_ASSIGN_OR_RETURN(o.autotune, c.Bool("serve.autotune", o.autotune));
  FEDGLM_ASSIGN_OR_RETURN(const std::string pinning, c.String("serve.pin_threads", "off"));
  const std::optional<ThreadPinning> known = ThreadPinningFromName(pinning);
  if (!known) return ConfigurationError("serve.pin_threads is auto, on or off, not '" + pinning + "'");
  o.engine.pin_threads = *known;
  FEDGLM_ASSIGN_OR_RETURN(const std::string budget, c.String("serve.memory_budget", ""));
  if (!budget.empty()) {
    const absl::StatusOr<uint64_t> bytes = ParseByteSize(budget);
    if (!bytes.ok()) return ConfigurationError("serve.memory_budget: " + Message(bytes.status()));
    o.engine.memory_budget = *bytes;
  }
  FEDGLM_ASSIGN_OR_RETURN(const std::string kv_type, c.String("serve.kv_type", "f16"));
  if (kv_type != "f16" && kv_type != "q8_0")
    return ConfigurationError("serve.kv_type is f16 or q8_0, not '" + kv_type + "'");
  o.engine.quantized_cache = kv_type == "q8_0";
  FEDGLM_ASSIGN_OR_RETURN(o.engine.max_running, c.Integer("serve.parallel", o.engine.max_running, 1, 256));
  FEDGLM_ASSIGN_OR_RETURN(o.engine.max_waiting, c.Integer("serve.queue", o.engine.max_waiting, 0, 10'000));
  return absl::OkStatus();
}

// The wall must not have a hole from the start.
absl::Status CheckWall(const NodeOptions& o) {
  for (const auto* files : {&o.training_records, &o.held_out_records}) {
    for (const std::filesystem::path& records : *files) {
      for (const std::filesystem::path& readable : o.ReadablePaths()) {
        if (!LiesBelow(records, readable)) continue;
        return ConfigurationError("records: " + records.string() + " lies below " + readable.string() +
                                  ", which the process with the network may read; keep records elsewhere");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::filesystem::path> NodeOptions::ReadablePaths() const {
  std::vector<std::filesystem::path> paths = {"/usr",
                                              "/lib",
                                              "/lib64",
                                              "/etc",
                                              "/proc",
                                              "/sys",
                                              "/dev/null",
                                              "/dev/urandom",
                                              "/run/systemd/resolve",
                                              ExecutableDirectory(),
                                              model,
                                              state_dir};
  if (!log.file.empty()) paths.push_back(std::filesystem::absolute(log.file).parent_path());
  if (!token_file.empty()) paths.push_back(token_file);
  // The folder, since a key is added or revoked by putting another file in this one's place.
  if (!serve.api_keys.empty()) paths.push_back(std::filesystem::absolute(serve.api_keys).parent_path());
  for (const std::filesystem::path& file : {serve.tls_certificate, serve.tls_key}) {
    if (!file.empty()) paths.push_back(file);
  }
  for (const UpstreamOptions& upstream : serve.upstreams) {
    if (!upstream.api_key_file.empty()) paths.push_back(upstream.api_key_file);
    if (!upstream.ca_file.empty()) paths.push_back(upstream.ca_file);
  }
  return paths;
}

absl::StatusOr<NodeOptions> NodeOptions::Read(Configuration& c) {
  NodeOptions o;
  FEDGLM_ASSIGN_OR_RETURN(const std::string model, c.RequiredString("model"));
  FEDGLM_ASSIGN_OR_RETURN(o.model, c.Path("model", model));
  FEDGLM_ASSIGN_OR_RETURN(o.training_records, c.Paths("records.train"));
  FEDGLM_ASSIGN_OR_RETURN(o.held_out_records, c.Paths("records.held_out"));
  if (o.training_records.empty()) return ConfigurationError("records.train must name at least one file of records");
  FEDGLM_ASSIGN_OR_RETURN(o.site, c.RequiredString("federation.site"));
  if (!IsSiteName(o.site)) {
    return ConfigurationError("federation.site: '" + o.site + "' is no site name: letters, digits and '-', at most 63");
  }
  FEDGLM_ASSIGN_OR_RETURN(o.token_file, c.Path("federation.token_file", ""));
  FEDGLM_ASSIGN_OR_RETURN(o.federation_address, c.String("federation.address", ""));
  if (!o.federation_address.empty() && !IsDialAddress(o.federation_address)) {
    return ConfigurationError("federation.address is HOST:PORT, not '" + o.federation_address + "'");
  }
  FEDGLM_ASSIGN_OR_RETURN(o.state_dir, c.Path("node.state_dir", o.state_dir));
  FEDGLM_RETURN_IF_ERROR(ReadServing(c, o));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t threads, c.Integer("training.threads", 0, 0, 1024));
  o.threads = static_cast<int>(threads);
  FEDGLM_ASSIGN_OR_RETURN(o.micro_batch_tokens,
                          c.Integer("training.micro_batch_tokens", o.micro_batch_tokens, 1, 1 << 24));
  FEDGLM_ASSIGN_OR_RETURN(o.privacy.max_update_norm,
                          c.Number("privacy.max_update_norm", o.privacy.max_update_norm, 0, 1e12));
  FEDGLM_ASSIGN_OR_RETURN(o.max_regression, c.Number("adapter.max_regression", o.max_regression, 0, 1e12));
  FEDGLM_ASSIGN_OR_RETURN(o.log, ReadLogOptions(c, "fedglm-node"));
  FEDGLM_RETURN_IF_ERROR(c.Finish());
  FEDGLM_RETURN_IF_ERROR(CheckWall(o));
  return o;
}

std::string_view NodeOptions::FirstFile() { return kFirstFile; }

}  // namespace fedglm
