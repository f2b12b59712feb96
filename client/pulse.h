// What a site says while it trains: that it is there, and how far it is. And what it hears: whether anybody still waits
// for the update.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "adapter/training_job.h"
#include "client/federation_client.h"

namespace fedglm {

// For one job. From one thread.
class Pulse {
 public:
  Pulse(FederationClient& aggregator, int64_t round, std::function<bool()> stopped)
      : aggregator_(aggregator), round_(round), stopped_(std::move(stopped)) {}

  void OnEvent(const TrainerEvent& event);
  // Whether the job is to be ended: the node is, or nobody waits for its update. Asked several times a second.
  bool Stops();

  bool unwanted() const { return unwanted_; }
  int64_t usable_examples() const { return usable_; }  // of the site's, once the job has begun

 private:
  FederationClient& aggregator_;
  const int64_t round_;
  const std::function<bool()> stopped_;
  int64_t step_ = 0, steps_ = 0, usable_ = 0;
  std::chrono::steady_clock::time_point next_{};
  bool unwanted_ = false;
};

}  // namespace fedglm
