#include "client/pulse.h"

namespace fedglm {
namespace {

constexpr auto kEvery = std::chrono::seconds(30);

}  // namespace

void Pulse::OnEvent(const TrainerEvent& event) {
  if (event.event == "started") usable_ = event.records;
  if (event.event != "step") return;
  step_ = event.step;
  steps_ = event.steps;
}

bool Pulse::Stops() {
  if (stopped_() || unwanted_) return true;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return false;
  next_ = now + kEvery;
  // An aggregator that is away, or older, is no reason to stop.
  const absl::StatusOr<bool> expected = aggregator_.Heartbeat(round_, step_, steps_);
  unwanted_ = expected.ok() && !*expected;
  return unwanted_;
}

}  // namespace fedglm
