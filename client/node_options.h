// The node's configuration file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/configuration.h"
#include "base/log.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "client/privacy.h"
#include "inference/api/api_options.h"
#include "inference/engine/engine.h"

namespace fedglm {

struct NodeOptions {
  std::filesystem::path model;
  std::vector<std::filesystem::path> training_records, held_out_records;  // JSON Lines

  std::string site;
  std::filesystem::path token_file;  // needed until the site is enrolled; another token in it enrols the site anew
  std::string federation_address;    // HOST:PORT of the aggregator; empty: as enrolment said
  std::filesystem::path state_dir = "state";

  ApiOptions serve;      // port 0: a free one; see state_dir/addresses.json
  EngineOptions engine;  // context, pin_threads, memory_budget, quantized_cache, max_running and max_waiting
  bool autotune = true;  // unless `threads` says how many: measured once, kept in state_dir/autotune

  int threads = 0;  // of the trainer and of the engine; 0: physical cores
  int64_t micro_batch_tokens = 512;
  PrivacyOptions privacy;
  double max_regression = 0.05;  // of an adapter that is installed: client/rules/acceptance.h
  LogOptions log;

  // Folders that the node itself may read. Records below one of them are a ConfigurationError: the wall between the
  // process with the network and the records would have a hole.
  std::vector<std::filesystem::path> ReadablePaths() const;

  static absl::StatusOr<NodeOptions> Read(Configuration& configuration);
  // What `fedglm-node init` writes: TOML with every common key and its default, and what it is for.
  static std::string_view FirstFile();
};

}  // namespace fedglm
