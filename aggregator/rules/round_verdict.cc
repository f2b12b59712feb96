#include "aggregator/rules/round_verdict.h"

namespace fedglm {
namespace {

// A round in which everybody is refused at once would else begin again at once, for ever.
constexpr auto kShortestTry = std::chrono::minutes(1);

}  // namespace

RoundVerdict Judge(const RoundProgress& progress, int64_t quorum) {
  const bool over = progress.now >= progress.deadline || progress.all_silent;
  if (progress.accepted >= quorum) return over ? RoundVerdict::kIsClosed : RoundVerdict::kGoesOn;
  const bool tried = progress.now - progress.asked >= kShortestTry;
  return tried && over ? RoundVerdict::kBeginsAgain : RoundVerdict::kGoesOn;
}

std::string WhyAgain(const RoundProgress& progress, int64_t quorum) {
  return std::to_string(progress.accepted) + " of the " + std::to_string(quorum) + " updates that it needs are in" +
         (progress.expected == 0 ? ", and nobody else is asked"
          : progress.all_silent  ? ", and nothing is heard of the others"
                                 : " at its deadline");
}

int64_t DeadlineAfterOutage(int64_t deadline_unix_ms, int64_t last_alive_unix_ms, int64_t now_unix_ms,
                            int64_t cadence_ms) {
  const int64_t outage = now_unix_ms - last_alive_unix_ms;
  return outage > cadence_ms ? deadline_unix_ms + outage : deadline_unix_ms;
}

}  // namespace fedglm
