#include "aggregator/options/aggregator_options.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "tests/adapter/unusual_plan.h"
#include "tests/aggregator/rounds/small_federation.h"
#include "tests/support/first_file.h"

namespace fedglm {
namespace {

constexpr char kRequired[] = "[federation]\nname = \"hospitals\"\ninitial_adapter = \"adapter\"\n";

absl::StatusOr<AggregatorOptions> Read(const std::string& toml) {
  FEDGLM_ASSIGN_OR_RETURN(Configuration configuration, Configuration::Parse(toml, "aggregator.toml"));
  return AggregatorOptions::Read(configuration);
}

// ConfigurationError whose message has `part` in it.
void ExpectRefused(const std::string& toml, const std::string& part) {
  const absl::StatusOr<AggregatorOptions> options = Read(toml);
  EXPECT_EQ(ExitCodeOf(options.status()), ExitCode::kConfiguration) << toml;
  EXPECT_NE(Message(options.status()).find(part), std::string::npos) << Message(options.status());
}

TEST(AggregatorOptions, DefaultsStandWhereNothingIsSaid) {
  const AggregatorOptions options = Get(Read(kRequired)), defaults;
  EXPECT_EQ(options.federation, "hospitals");
  EXPECT_EQ(options.mode, UpdateForm::kChangeOfB);
  EXPECT_EQ(options.rounds, defaults.rounds);
  EXPECT_EQ(options.listen, defaults.listen);
  EXPECT_EQ(Get(options.WhatToDial()).federation.host, "localhost");
  EXPECT_EQ(options.max_update_bytes, uint64_t{4} << 30);
  EXPECT_EQ(options.training.optimizer, "adamw");
}

TEST(AggregatorOptions, EveryKeyIsRead) {
  const AggregatorOptions o = Get(Read(std::string(kRequired) + R"(
mode = "stack"
rounds = 3
min_sites = 4
min_updates = 2
round_timeout_seconds = 7
server_learning_rate = 0.5
[training]
optimizer = "sgd"
steps = 11
batch_tokens = 12
sequence_length = 13
learning_rate = 0.25
weight_decay = 0.125
warmup_steps = 14
schedule = "cosine"
clip_norm = 2.5
seed = 15
[server]
listen = "0.0.0.0:1"
enrolment_listen = "0.0.0.0:2"
host_names = ["a.example", "10.0.0.1"]
advertise = "b.example"
enrolment_advertise = "c.example:444"
state_dir = "/var/lib/fedglm"
certificate_days = 30
[limits]
max_update_bytes = "5MiB"
[log]
level = "error"
json = true
)"));
  EXPECT_EQ(o.mode, UpdateForm::kFactors);
  EXPECT_EQ(o.rounds, 3);
  EXPECT_EQ(o.min_sites, 4);
  EXPECT_EQ(o.min_updates, 2);
  EXPECT_EQ(o.round_timeout_seconds, 7);
  EXPECT_EQ(o.training.optimizer, "sgd");
  EXPECT_EQ(o.training.steps, 11);
  EXPECT_EQ(o.training.batch_tokens, 12);
  EXPECT_EQ(o.training.sequence_length, 13);
  EXPECT_EQ(o.training.learning_rate, 0.25);
  EXPECT_EQ(o.training.weight_decay, 0.125);
  EXPECT_EQ(o.training.warmup_steps, 14);
  EXPECT_EQ(o.training.schedule, "cosine");
  EXPECT_EQ(o.training.clip_norm, 2.5);
  EXPECT_EQ(o.training.seed, 15u);
  EXPECT_EQ(o.listen, "0.0.0.0:1");
  EXPECT_EQ(o.enrolment_listen, "0.0.0.0:2");
  EXPECT_EQ(o.host_names, (std::vector<std::string>{"a.example", "10.0.0.1"}));
  EXPECT_EQ(o.advertise, "b.example");
  EXPECT_EQ(o.enrolment_advertise, "c.example:444");
  EXPECT_EQ(o.state_dir, "/var/lib/fedglm");
  EXPECT_EQ(o.certificate_days, 30);
  EXPECT_EQ(o.max_update_bytes, uint64_t{5} << 20);
  EXPECT_EQ(o.log.level, LogLevel::kError);
  EXPECT_TRUE(o.log.json);
}

TEST(AggregatorOptions, WhatSitesAreToDialFollowsFromTheHostsNames) {
  const auto dialled = [](const std::vector<std::string>& host_names, const std::string& advertise,
                          const std::string& enrolment) {
    AggregatorOptions options;
    options.host_names = host_names;
    options.advertise = advertise;
    options.enrolment_advertise = enrolment;
    return Get(options.WhatToDial());
  };
  AggregatorOptions::Advertised what = dialled({"::1", "*.example"}, "", "");
  EXPECT_EQ(HostAndPort(what.federation.host, 7443), "[::1]:7443");
  EXPECT_EQ(what.certificate_names, (std::vector<std::string>{"::1", "*.example"}));
  what = dialled({"[::1]"}, "lb.example:443", "");
  EXPECT_EQ(what.federation.host, "lb.example");
  EXPECT_EQ(what.federation.port, 443);
  EXPECT_EQ(what.enrolment.host, "lb.example") << "the host alone: its port is another one";
  EXPECT_EQ(what.enrolment.port, 0);
  EXPECT_EQ(what.certificate_names, (std::vector<std::string>{"::1", "lb.example"})) << "the certificate must fit";
  what = dialled({"a"}, "[2001:DB8::1]:443", "b:444");
  EXPECT_EQ(what.certificate_names, (std::vector<std::string>{"a", "2001:db8::1", "b"}));
  EXPECT_EQ(what.enrolment.port, 444);
}

// What `init` writes is accepted, and where it shows a default, it is the program's.
TEST(AggregatorOptions, TheFirstFileSaysWhatTheDefaultsAre) {
  const AggregatorOptions defaults = Get(Read(kRequired));
  const std::string first(AggregatorOptions::FirstFile()), whole = WithEveryKey(first);
  EXPECT_NE(first, whole);
  for (const std::string& text : {first, whole}) {
    const AggregatorOptions o = Get(Read(text));
    EXPECT_EQ(o.federation, "federation");
    EXPECT_EQ(o.initial_adapter, "first-adapter");
    EXPECT_EQ(o.mode, defaults.mode);
    EXPECT_EQ(o.strategy->name(), defaults.strategy->name());
    EXPECT_EQ(o.bounds.norm, defaults.bounds.norm);
    EXPECT_EQ(o.bounds.weight_share, defaults.bounds.weight_share);
    EXPECT_EQ(o.reject_share, defaults.reject_share);
    EXPECT_EQ(o.rounds, defaults.rounds);
    EXPECT_EQ(o.min_sites, defaults.min_sites);
    EXPECT_EQ(o.min_updates, defaults.min_updates);
    EXPECT_EQ(o.round_timeout_seconds, defaults.round_timeout_seconds);
    EXPECT_EQ(o.silence_seconds, defaults.silence_seconds);
    EXPECT_EQ(ToJson(o.training), ToJson(defaults.training));
    EXPECT_EQ(o.listen, defaults.listen);
    EXPECT_EQ(o.enrolment_listen, defaults.enrolment_listen);
    EXPECT_EQ(o.host_names, defaults.host_names);
    EXPECT_EQ(Get(o.WhatToDial()).federation.host, Get(defaults.WhatToDial()).federation.host);
    EXPECT_EQ(Get(o.WhatToDial()).enrolment.host, Get(defaults.WhatToDial()).enrolment.host);
    EXPECT_EQ(o.state_dir, defaults.state_dir);
    EXPECT_EQ(o.certificate_days, defaults.certificate_days);
    EXPECT_EQ(o.max_update_bytes, defaults.max_update_bytes);
    EXPECT_EQ(o.log.level, defaults.log.level);
    EXPECT_EQ(o.log.json, defaults.log.json);
  }
  const Json plan = ToJson(defaults.training);
  for (const auto& [key, value] : plan.items()) {
    EXPECT_NE(whole.find("\n" + key + " = "), std::string::npos) << key << " is not shown";
  }
}

TEST(AggregatorOptions, EveryHyperparameterIsAKeyOfTraining) {
  const Json unusual = ToJson(UnusualPlan::Make());
  std::string toml = std::string(kRequired) + "[training]\n";
  for (const auto& [key, value] : unusual.items()) toml += key + " = " + DumpJson(value) + "\n";
  EXPECT_EQ(ToJson(Get(Read(toml)).training), unusual);
}

// The value that the strategy of these options has for a key of its own.
double NumberOf(const AggregatorOptions& options, std::string_view key) {
  double found = std::nan("");
  auto& strategy = const_cast<Strategy&>(*options.strategy);
  const auto look = [&](std::string_view name, double& value, double, double) {
    if (name == key) found = value;
    return absl::OkStatus();
  };
  EXPECT_TRUE(strategy.Visit(look).ok());
  return found;
}

TEST(AggregatorOptions, TheModeSaysWhichStrategyCombinesAndTheStrategyReadsItsNumbers) {
  const std::string required = kRequired;
  EXPECT_EQ(Get(Read(required)).strategy->name(), "fedavg");
  EXPECT_EQ(Get(Read(required + "mode = \"average\"\n")).strategy->name(), "fedavg");
  EXPECT_EQ(Get(Read(required + "mode = \"stack\"\n")).strategy->name(), "stacking");
  const AggregatorOptions o = Get(Read(required + "mode = \"fedsgd\"\nserver_learning_rate = 0.5\n"));
  EXPECT_EQ(o.strategy->name(), "fedsgd");
  EXPECT_EQ(NumberOf(o, "federation.server_learning_rate"), 0.5);
  EXPECT_EQ(NumberOf(Get(Read(required + "mode = \"fedsgd\"\n")), "federation.server_learning_rate"), 1.0);
  const std::string named = required + "mode = \"stack\"\n[aggregation]\nstrategy = \"stacking\"\n";
  EXPECT_EQ(Get(Read(named)).strategy->name(), "stacking");
}

TEST(AggregatorOptions, FedAdamsNumbersAreReadByFedAdam) {
  const std::string fedadam = std::string(kRequired) + "[aggregation]\nstrategy = \"fedadam\"\n";
  const AggregatorOptions o = Get(Read(fedadam + "learning_rate = 0.5\nbeta1 = 0.25\nbeta2 = 0.125\ntau = 0.0625\n"));
  EXPECT_EQ(o.strategy->name(), "fedadam");
  EXPECT_EQ(NumberOf(o, "aggregation.learning_rate"), 0.5);
  EXPECT_EQ(NumberOf(o, "aggregation.beta1"), 0.25);
  EXPECT_EQ(NumberOf(o, "aggregation.beta2"), 0.125);
  EXPECT_EQ(NumberOf(o, "aggregation.tau"), 0.0625);
  ExpectRefused(fedadam + "learning_rate = -0.5\n", "aggregation.learning_rate");
  ExpectRefused(fedadam + "beta1 = 1.0\n", "aggregation.beta1");
  ExpectRefused(fedadam + "beta2 = 1.0\n", "aggregation.beta2");
  ExpectRefused(fedadam + "tau = 0.0\n", "aggregation.tau");
  ExpectRefused(std::string(kRequired) + "[aggregation]\ntau = 0.5\n", "aggregation.tau");  // FedAvg has none
}

TEST(AggregatorOptions, AStrategyMustKnowWhatToDoWithWhatTheModeSends) {
  const std::string required = kRequired;
  ExpectRefused(required + "[aggregation]\nstrategy = \"mode\"\n", "aggregation.strategy: 'mode'");
  ExpectRefused(required + "[aggregation]\nstrategy = \"stacking\"\n", "stacking cannot combine");
  ExpectRefused(required + "mode = \"stack\"\n[aggregation]\nstrategy = \"fedavg\"\n", "mode stack");
}

TEST(AggregatorOptions, TheQuorumIsThreeIfThereAreSoManySites) {
  const std::string required = kRequired;
  EXPECT_EQ(Read(required)->min_sites, 3);
  EXPECT_EQ(Read(required)->min_updates, 3);
  EXPECT_EQ(Read(required + "min_sites = 10\n")->min_updates, 3);
  EXPECT_EQ(Read(required + "min_sites = 2\n")->min_updates, 2);
}

TEST(AggregatorOptions, BoundsOfUpdatesAreRead) {
  const std::string required = kRequired;
  const AggregatorOptions o = *Read(required + "[aggregation]\nnorm_bound = 5\nmax_weight_share = 0.25\n");
  EXPECT_EQ(o.bounds.norm, 5);
  EXPECT_EQ(o.bounds.weight_share, 0.25);
  ExpectRefused(required + "[aggregation]\nnorm_bound = 0.5\n", "norm_bound must be 0 or at least 1");
  ExpectRefused(required + "[aggregation]\nmax_weight_share = 1.5\n", "max_weight_share");
  ExpectRefused(required + "[aggregation]\nstrategy = 'multi-krum'\nhostile_share = 0.5\n", "hostile_share");
}

TEST(AggregatorOptions, AnUnknownKeyIsAnErrorWithItsLine) {
  ExpectRefused(std::string(kRequired) + "[server]\nlisten_on = \"x\"\n", "aggregator.toml:5");
  ExpectRefused(std::string(kRequired) + "[server]\nlisten_on = \"x\"\n", "listen_on");
}

TEST(AggregatorOptions, WhatIsRequiredIsNamed) {
  ExpectRefused("[federation]\ninitial_adapter = \"a\"\n", "federation.name");
  ExpectRefused("[federation]\nname = \"a\"\n", "federation.initial_adapter");
}

TEST(AggregatorOptions, BadValuesAreNamed) {
  const std::string required = kRequired;
  ExpectRefused(required + "mode = \"median\"\n", "federation.mode");
  ExpectRefused(required + "rounds = 0\n", "federation.rounds");
  ExpectRefused(required + "rounds = \"ten\"\n", "federation.rounds");
  ExpectRefused(required + "min_sites = -1\n", "federation.min_sites");
  ExpectRefused(required + "min_updates = 0\n", "federation.min_updates");
  ExpectRefused(required + "min_sites = 2\nmin_updates = 3\n", "min_sites must be at least federation.min_updates: 3");
  ExpectRefused(required + "round_timeout_seconds = 0\n", "round_timeout_seconds");
  ExpectRefused(required + "server_learning_rate = nan\n", "server_learning_rate");
  ExpectRefused(required + "server_learning_rate = -0.5\n", "server_learning_rate");
  ExpectRefused(required + "[training]\noptimizer = \"lion\"\n", "training.optimizer");
  ExpectRefused(required + "[training]\nschedule = \"linear\"\n", "training.schedule");
  ExpectRefused(required + "[training]\nsequence_length = 1\n", "training.sequence_length");
  ExpectRefused(required + "[training]\nlearning_rate = -1.0\n", "training.learning_rate");
  ExpectRefused(required + "[server]\nhost_names = []\n", "server.host_names");
  ExpectRefused(required + "[server]\nhost_names = [\"a b\"]\n", "server.host_names: 'a b'");
  ExpectRefused(required + "[server]\nadvertise = \"a:b:c\"\n", "server.advertise: 'a:b:c'");
  ExpectRefused(required + "[server]\nenrolment_advertise = \"http://a\"\n", "server.enrolment_advertise: 'http://a'");
  ExpectRefused(required + "[server]\nlisten = \"7443\"\n", "server.listen: '7443'");
  ExpectRefused(required + "[server]\nenrolment_listen = \"::1:7444\"\n", "server.enrolment_listen: '::1:7444'");
  ExpectRefused(required + "[server]\ncertificate_days = 4000\n", "server.certificate_days");
  ExpectRefused(required + "[limits]\nmax_update_bytes = \"much\"\n", "limits.max_update_bytes");
  ExpectRefused(required + "[log]\nlevel = \"loud\"\n", "log.level");
}

}  // namespace
}  // namespace fedglm
