#include "base/clock.h"

#include <ctime>

namespace fedglm {
namespace {

class SystemClock : public Clock {
 public:
  std::chrono::system_clock::time_point Now() const override { return std::chrono::system_clock::now(); }
  std::chrono::steady_clock::time_point Monotonic() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace

Clock& Clock::System() {
  static SystemClock clock;
  return clock;
}

std::chrono::system_clock::time_point ManualClock::Now() const {
  MutexLock lock(mutex_);
  return now_;
}

std::chrono::steady_clock::time_point ManualClock::Monotonic() const {
  MutexLock lock(mutex_);
  return monotonic_;
}

void ManualClock::Advance(std::chrono::milliseconds by) {
  MutexLock lock(mutex_);
  now_ += by;
  monotonic_ += by;
}

void ManualClock::Set(std::chrono::milliseconds by) {
  MutexLock lock(mutex_);
  now_ += by;
}

std::string FormatUtc(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

int64_t UnixMilliseconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

}  // namespace fedglm
