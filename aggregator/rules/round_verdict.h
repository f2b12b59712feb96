// Whether an open round is closed, goes on, or begins again.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace fedglm {

struct RoundProgress {
  int64_t expected = 0, accepted = 0;  // updates: still expected, and accepted; the others are refused
  bool all_silent = false;             // of none that is expected has anything been heard for a while; also if none is
  // By a clock that only goes forward.
  std::chrono::steady_clock::time_point asked;  // when sites were last asked: when it began, or began again
  std::chrono::steady_clock::time_point deadline, now;
};

enum class RoundVerdict {
  kGoesOn,
  kIsClosed,     // whoever is still expected is late
  kBeginsAgain,  // what is accepted stays so, everybody else is asked again
};

// A round is never closed with fewer accepted updates than `quorum`: a mean of one is that one. Each of them is another
// site's. With them it is closed when no other one will come: at its deadline, and before it when all of whom one is
// expected are silent.
RoundVerdict Judge(const RoundProgress& progress, int64_t quorum);

// Why it begins again, for the log and the audit log.
std::string WhyAgain(const RoundProgress& progress, int64_t quorum);

// The deadline of a round that was open while the aggregator did not run: the time since it was last known to run does
// not count against the sites. Within `cadence_ms` it may only not have been asked.
int64_t DeadlineAfterOutage(int64_t deadline_unix_ms, int64_t last_alive_unix_ms, int64_t now_unix_ms,
                            int64_t cadence_ms);

}  // namespace fedglm
