#include "aggregator/aggregator_options.h"

namespace fedglm {
namespace {

absl::Status ReadTraining(Configuration& c, TrainingPlanOptions& plan) {
  FEDGLM_ASSIGN_OR_RETURN(plan.optimizer, c.String("training.optimizer", plan.optimizer));
  if (plan.optimizer != "adamw" && plan.optimizer != "sgd")
    return ConfigurationError("training.optimizer must be adamw or sgd");
  FEDGLM_ASSIGN_OR_RETURN(plan.steps, c.Integer("training.steps", plan.steps, 1, 1000000));
  FEDGLM_ASSIGN_OR_RETURN(plan.batch_tokens, c.Integer("training.batch_tokens", plan.batch_tokens, 1, 1 << 24));
  FEDGLM_ASSIGN_OR_RETURN(plan.sequence_length,
                          c.Integer("training.sequence_length", plan.sequence_length, 8, 1 << 20));
  FEDGLM_ASSIGN_OR_RETURN(plan.learning_rate, c.Number("training.learning_rate", plan.learning_rate, 0, 1000));
  FEDGLM_ASSIGN_OR_RETURN(plan.weight_decay, c.Number("training.weight_decay", plan.weight_decay, 0, 1000));
  FEDGLM_ASSIGN_OR_RETURN(plan.warmup_steps, c.Integer("training.warmup_steps", plan.warmup_steps, 0, 1000000));
  FEDGLM_ASSIGN_OR_RETURN(plan.schedule, c.String("training.schedule", plan.schedule));
  if (plan.schedule != "constant" && plan.schedule != "cosine")
    return ConfigurationError("training.schedule must be constant or cosine");
  FEDGLM_ASSIGN_OR_RETURN(plan.clip_norm, c.Number("training.clip_norm", plan.clip_norm, 0, 1e9));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t seed,
                          c.Integer("training.seed", static_cast<int64_t>(plan.seed), 0, INT64_MAX));
  plan.seed = static_cast<uint64_t>(seed);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AggregatorOptions> AggregatorOptions::Read(Configuration& c) {
  AggregatorOptions o;
  FEDGLM_ASSIGN_OR_RETURN(o.federation, c.RequiredString("federation.name"));
  FEDGLM_ASSIGN_OR_RETURN(const std::string mode, c.String("federation.mode", "freeze-a"));
  const absl::StatusOr<AggregationMode> parsed = ParseAggregationMode(mode);
  if (!parsed.ok()) return ConfigurationError("federation.mode: " + Message(parsed.status()));
  o.mode = *parsed;
  FEDGLM_ASSIGN_OR_RETURN(o.rounds, c.Integer("federation.rounds", o.rounds, 1, 1000000));
  FEDGLM_ASSIGN_OR_RETURN(o.min_sites, c.Integer("federation.min_sites", o.min_sites, 1, 100000));
  FEDGLM_ASSIGN_OR_RETURN(o.min_updates, c.Integer("federation.min_updates", o.min_updates, 1, 100000));
  FEDGLM_ASSIGN_OR_RETURN(o.round_timeout_seconds,
                          c.Integer("federation.round_timeout_seconds", o.round_timeout_seconds, 1, int64_t{1} << 31));
  FEDGLM_ASSIGN_OR_RETURN(o.server_learning_rate,
                          c.Number("federation.server_learning_rate", o.server_learning_rate, 0, 1e6));
  FEDGLM_ASSIGN_OR_RETURN(const std::string adapter, c.RequiredString("federation.initial_adapter"));
  FEDGLM_ASSIGN_OR_RETURN(o.initial_adapter, c.Path("federation.initial_adapter", adapter));
  FEDGLM_RETURN_IF_ERROR(ReadTraining(c, o.training));
  FEDGLM_ASSIGN_OR_RETURN(o.listen, c.String("server.listen", o.listen));
  FEDGLM_ASSIGN_OR_RETURN(o.enrolment_listen, c.String("server.enrolment_listen", o.enrolment_listen));
  FEDGLM_ASSIGN_OR_RETURN(o.host_names, c.Strings("server.host_names", o.host_names));
  if (o.host_names.empty()) return ConfigurationError("server.host_names must name at least one host");
  FEDGLM_ASSIGN_OR_RETURN(o.advertise, c.String("server.advertise", o.host_names.front()));
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
