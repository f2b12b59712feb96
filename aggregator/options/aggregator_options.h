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
#include "base/listen_address.h"
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
  // What sites are told to dial, HOST or HOST:PORT: as the machine is reached from outside, through a mapped port or a
  // load balancer. Default: the first of host_names with the port of `listen`; the host of `advertise` with the port of
  // `enrolment_listen`.
  std::string advertise, enrolment_advertise;
  std::filesystem::path state_dir = "state";
  uint64_t max_update_bytes = uint64_t{4} << 30;
  int64_t certificate_days = 365;
  LogOptions log;

  static absl::StatusOr<AggregatorOptions> Read(Configuration& configuration);

  struct Advertised {
    ListenAddress federation, enrolment;         // port 0: the one that is listened on
    std::vector<std::string> certificate_names;  // host_names, and what is advertised
  };
  // ConfigurationError if one of the names or addresses is none.
  absl::StatusOr<Advertised> WhatToDial() const;

  // What `fedglm-aggregator init` writes: TOML with every common key and its default, and what it is for.
  static std::string_view FirstFile();
};

}  // namespace fedglm
