#include "aggregator/options/aggregator_options.h"

#include <algorithm>

namespace fedglm {
namespace {

// The keys of [training].
class PlanReader {
 public:
  explicit PlanReader(Configuration& configuration) : configuration_(configuration) {}

  template <typename T>
  void operator()(const PlanField<T>& field, T& value) {
    if (status_.ok()) status_ = Read(std::string("training.") + field.key, field.allowed, value);
  }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status Read(const std::string& key, const Allowed<std::string>& allowed, std::string& value) {
    FEDGLM_ASSIGN_OR_RETURN(value, configuration_.String(key, value));
    return allowed.Holds(value) ? absl::OkStatus() : ConfigurationError(key + " must be " + Describe(allowed));
  }
  absl::Status Read(const std::string& key, const Allowed<int64_t>& allowed, int64_t& value) {
    FEDGLM_ASSIGN_OR_RETURN(value, configuration_.Integer(key, value, allowed.lowest, allowed.highest));
    return absl::OkStatus();
  }
  absl::Status Read(const std::string& key, const Allowed<double>& allowed, double& value) {
    FEDGLM_ASSIGN_OR_RETURN(value, configuration_.Number(key, value, allowed.lowest, allowed.highest));
    return absl::OkStatus();
  }
  // TOML's integers have a sign.
  absl::Status Read(const std::string& key, const Allowed<uint64_t>& allowed, uint64_t& value) {
    const auto clamp = [](uint64_t number) { return static_cast<int64_t>(std::min<uint64_t>(number, INT64_MAX)); };
    FEDGLM_ASSIGN_OR_RETURN(const int64_t number,
                            configuration_.Integer(key, clamp(value), clamp(allowed.lowest), clamp(allowed.highest)));
    value = static_cast<uint64_t>(number);
    return absl::OkStatus();
  }

  Configuration& configuration_;
  absl::Status status_;
};

// What else a strategy wants to know it asks for itself.
absl::Status ReadStrategy(Configuration& c, AggregatorOptions& o) {
  const std::string fallback(DefaultStrategy(o.mode)->name());
  FEDGLM_ASSIGN_OR_RETURN(const std::string name, c.String("aggregation.strategy", fallback));
  absl::StatusOr<std::unique_ptr<Strategy>> strategy = MakeStrategy(name);
  if (!strategy.ok()) return ConfigurationError("aggregation.strategy: " + Message(strategy.status()));
  if (!(*strategy)->Combines(o.mode)) {
    return ConfigurationError("aggregation.strategy: " + name + " cannot combine the updates of mode " +
                              std::string(UpdateFormName(o.mode)));
  }
  FEDGLM_RETURN_IF_ERROR((*strategy)->Visit([&](std::string_view key, double& value, double minimum, double maximum) {
    const absl::StatusOr<double> read = c.Number(key, value, minimum, maximum);
    if (read.ok()) value = *read;
    return read.status();
  }));
  o.strategy = *std::move(strategy);
  FEDGLM_ASSIGN_OR_RETURN(o.bounds.norm, c.Number("aggregation.norm_bound", o.bounds.norm, 0, 1e6));
  if (o.bounds.norm > 0 && o.bounds.norm < 1)
    return ConfigurationError("aggregation.norm_bound must be 0 or at least 1");
  FEDGLM_ASSIGN_OR_RETURN(o.reject_share, c.Number("aggregation.reject_share", o.reject_share, 0, 1));
  FEDGLM_ASSIGN_OR_RETURN(o.bounds.weight_share, c.Number("aggregation.max_weight_share", o.bounds.weight_share, 0, 1));
  // FedSGD's, and always allowed to stand there in the other modes.
  return c.Number("federation.server_learning_rate", 1.0, 0, 1e6).status();
}

// Said at the start by the key's name: gRPC only cannot listen, and a site only cannot connect.
absl::Status InKey(const char* key, const absl::Status& status) {
  return status.ok() ? status : ConfigurationError(std::string(key) + ": " + Message(status));
}

absl::Status ReadServer(Configuration& c, AggregatorOptions& o) {
  FEDGLM_ASSIGN_OR_RETURN(o.listen, c.String("server.listen", o.listen));
  FEDGLM_RETURN_IF_ERROR(InKey("server.listen", ParseListenAddress(o.listen).status()));
  FEDGLM_ASSIGN_OR_RETURN(o.enrolment_listen, c.String("server.enrolment_listen", o.enrolment_listen));
  FEDGLM_RETURN_IF_ERROR(InKey("server.enrolment_listen", ParseListenAddress(o.enrolment_listen).status()));
  FEDGLM_ASSIGN_OR_RETURN(o.host_names, c.Strings("server.host_names", o.host_names));
  FEDGLM_ASSIGN_OR_RETURN(o.advertise, c.String("server.advertise", ""));
  FEDGLM_ASSIGN_OR_RETURN(o.enrolment_advertise, c.String("server.enrolment_advertise", ""));
  return o.WhatToDial().status();
}

}  // namespace

absl::StatusOr<AggregatorOptions::Advertised> AggregatorOptions::WhatToDial() const {
  if (host_names.empty()) return ConfigurationError("server.host_names must name at least one host");
  Advertised what;
  for (const std::string& name : host_names) {
    const bool wildcard = name.rfind("*.", 0) == 0;
    const absl::StatusOr<std::string> host = ParseHost(wildcard ? name.substr(2) : name);
    FEDGLM_RETURN_IF_ERROR(InKey("server.host_names", host.status()));
    what.certificate_names.push_back(wildcard ? name : *host);
  }
  const auto read = [](const char* key, const std::string& text, const std::string& otherwise) {
    const absl::StatusOr<ListenAddress> address = ParseAdvertisedAddress(text.empty() ? otherwise : text);
    return address.ok() ? address : absl::StatusOr<ListenAddress>(InKey(key, address.status()));
  };
  FEDGLM_ASSIGN_OR_RETURN(what.federation, read("server.advertise", advertise, what.certificate_names.front()));
  FEDGLM_ASSIGN_OR_RETURN(what.enrolment,
                          read("server.enrolment_advertise", enrolment_advertise, what.federation.host));
  // A site that is told to dial a host expects the host's name in the certificate.
  for (const std::string& host : {what.federation.host, what.enrolment.host}) {
    std::vector<std::string>& names = what.certificate_names;
    if (std::find(names.begin(), names.end(), host) == names.end()) names.push_back(host);
  }
  return what;
}

absl::StatusOr<AggregatorOptions> AggregatorOptions::Read(Configuration& c) {
  AggregatorOptions o;
  FEDGLM_ASSIGN_OR_RETURN(o.federation, c.RequiredString("federation.name"));
  FEDGLM_ASSIGN_OR_RETURN(const std::string mode, c.String("federation.mode", "freeze-a"));
  const absl::StatusOr<UpdateForm> parsed = ParseUpdateForm(mode);
  if (!parsed.ok()) return ConfigurationError("federation.mode: " + Message(parsed.status()));
  o.mode = *parsed;
  FEDGLM_ASSIGN_OR_RETURN(o.rounds, c.Integer("federation.rounds", o.rounds, 1, 1000000));
  FEDGLM_ASSIGN_OR_RETURN(o.min_sites, c.Integer("federation.min_sites", o.min_sites, 1, 100000));
  const int64_t quorum = std::min(o.min_updates, o.min_sites);
  FEDGLM_ASSIGN_OR_RETURN(o.min_updates, c.Integer("federation.min_updates", quorum, 1, 100000));
  if (o.min_sites < o.min_updates) {
    return ConfigurationError("federation.min_sites must be at least federation.min_updates: " +
                              std::to_string(o.min_updates));
  }
  FEDGLM_ASSIGN_OR_RETURN(o.round_timeout_seconds,
                          c.Integer("federation.round_timeout_seconds", o.round_timeout_seconds, 1, int64_t{1} << 31));
  FEDGLM_ASSIGN_OR_RETURN(o.silence_seconds,
                          c.Integer("federation.silence_seconds", o.silence_seconds, 120, int64_t{1} << 31));
  FEDGLM_RETURN_IF_ERROR(ReadStrategy(c, o));
  FEDGLM_ASSIGN_OR_RETURN(const std::string adapter, c.RequiredString("federation.initial_adapter"));
  FEDGLM_ASSIGN_OR_RETURN(o.initial_adapter, c.Path("federation.initial_adapter", adapter));
  PlanReader training(c);
  TrainingPlan::Visit(o.training, training);
  FEDGLM_RETURN_IF_ERROR(training.status());
  FEDGLM_RETURN_IF_ERROR(ReadServer(c, o));
  FEDGLM_ASSIGN_OR_RETURN(o.state_dir, c.Path("server.state_dir", o.state_dir));
  FEDGLM_ASSIGN_OR_RETURN(o.certificate_days, c.Integer("server.certificate_days", o.certificate_days, 1, 3650));
  FEDGLM_ASSIGN_OR_RETURN(const std::string limit, c.String("limits.max_update_bytes", "4GiB"));
  const absl::StatusOr<uint64_t> bytes = ParseByteSize(limit);
  if (!bytes.ok()) return ConfigurationError("limits.max_update_bytes: " + Message(bytes.status()));
  o.max_update_bytes = *bytes;
  FEDGLM_ASSIGN_OR_RETURN(o.log, ReadLogOptions(c, "fedglm-aggregator"));
  FEDGLM_RETURN_IF_ERROR(c.Finish());
  return o;
}

}  // namespace fedglm
