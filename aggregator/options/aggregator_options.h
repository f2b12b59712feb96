// The aggregator's configuration file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/training_plan.h"
#include "adapter/update_form.h"
#include "aggregator/strategy/strategy.h"
#include "aggregator/updates/bounded_updates.h"
#include "base/configuration.h"
#include "base/log.h"
#include "base/status.h"

namespace fedglm {

struct AggregatorOptions {
  std::string federation = "federation";
  UpdateForm mode = UpdateForm::kChangeOfB;  // what travels
  std::shared_ptr<const Strategy> strategy;  // how it is combined; null: the mode's default
  UpdateBounds bounds;                       // of what goes into it
  int64_t rounds = 10;
  int64_t min_sites = 3;      // a round begins when so many sites have asked for work
  int64_t min_updates = 3;    // the quorum: a round is not closed with fewer accepted updates, each of another site
  double reject_share = 0.5;  // an adapter that more of the sites that made it decline is taken back; 1: never
  int64_t round_timeout_seconds = 86400;
  int64_t silence_seconds = 600;          // a round with its quorum does not wait for sites that are silent so long
  std::filesystem::path initial_adapter;  // what round 1 starts from: `fedglm adapter init`
  TrainingPlan training = {.steps = 20};  // what every site does in a round

  std::string listen = "127.0.0.1:7443";                             // sites and administrators, mutual TLS
  std::string enrolment_listen = "127.0.0.1:7444";                   // enrolment
  std::vector<std::string> host_names = {"localhost", "127.0.0.1"};  // in the server's certificate
  std::string advertise;  // host that tokens name; default: the first of host_names
  std::filesystem::path state_dir = "state";
  uint64_t max_update_bytes = uint64_t{4} << 30;
  int64_t certificate_days = 365;
  LogOptions log;

  static absl::StatusOr<AggregatorOptions> Read(Configuration& configuration);
  // What `fedglm-aggregator init` writes: TOML with every common key and its default, and what it is for.
  static std::string_view FirstFile();
};

}  // namespace fedglm
