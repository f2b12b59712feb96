// Time as an interface, so that deadlines and expiries are unit tests.
#pragma once

#include <chrono>
#include <string>

#include "base/thread_annotations.h"

namespace fedglm {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::chrono::system_clock::time_point Now() const = 0;        // which people set
  virtual std::chrono::steady_clock::time_point Monotonic() const = 0;  // which only goes forward
  static Clock& System();
};

// A clock that moves when told to. Thread-safe.
class ManualClock : public Clock {
 public:
  explicit ManualClock(std::chrono::system_clock::time_point start) : now_(start) {}
  std::chrono::system_clock::time_point Now() const override;
  std::chrono::steady_clock::time_point Monotonic() const override;
  void Advance(std::chrono::milliseconds by);
  void Set(std::chrono::milliseconds by);  // Now() alone, as by hand; back as well

 private:
  mutable Mutex mutex_;
  std::chrono::system_clock::time_point now_ ABSL_GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point monotonic_ ABSL_GUARDED_BY(mutex_){std::chrono::hours(1)};
};

// "2026-11-24T04:00:00Z"
std::string FormatUtc(std::chrono::system_clock::time_point time);
int64_t UnixMilliseconds(std::chrono::system_clock::time_point time);

// Seconds since construction, monotonic.
class Stopwatch {
 public:
  double Seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace fedglm
