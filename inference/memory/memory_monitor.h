// Watches the memory of the process, its control group and the machine, once a second, and tells how hard it is pressed
// on.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <thread>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread_annotations.h"
#include "inference/memory/memory_pressure.h"

namespace fedglm {

struct MonitorOptions {
  KernelFolders folders;  // others in tests
  Clock* clock = &Clock::System();
  std::chrono::milliseconds interval{1000};
};

struct MonitorStatistics {
  int level = 0;
  std::array<uint64_t, kPressureLevels> entered = {};  // how often each level was come to, from below or above
  MemorySample last;
};

// Thread-safe.
class MemoryMonitor {
 public:
  // `on_sample` gets, after each sample, the ladder's level and the pressure of this very sample, which is never more:
  // what takes effect at once goes by the pressure, what should not flicker by the level. From the monitor's thread.
  // Changes of the level are logged.
  using OnSample = std::function<void(int level, int pressure)>;
  MemoryMonitor(const MonitorOptions& options, OnSample on_sample);
  ~MemoryMonitor();

  void Start();  // the thread; once
  // Takes a sample now: what the thread does at each interval.
  void Sample();

  MonitorStatistics Statistics() const;

 private:
  const MonitorOptions options_;
  const OnSample on_sample_;
  mutable Mutex mutex_;
  std::condition_variable stop_;
  PressureLadder ladder_ ABSL_GUARDED_BY(mutex_);
  MonitorStatistics statistics_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace fedglm
