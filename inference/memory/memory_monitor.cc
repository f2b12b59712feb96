#include "inference/memory/memory_monitor.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "base/log.h"

namespace fedglm {
namespace {

void LogChange(int from, int to, const MemorySample& sample) {
  char facts[160];
  std::snprintf(facts, sizeof(facts), "memory pressure %d of %d (was %d): %.1f %% left, stalls %.0f %% of the time", to,
                kPressureLevels - 1, from, 100 * MemoryLeft(sample),
                std::max(sample.group_stall, sample.machine_stall));
  const std::string line = std::string(facts) + "; " + std::string(PressureAction(to));
  if (to > from) {
    LogWarning(line);
  } else {
    LogInfo(line);
  }
}

}  // namespace

MemoryMonitor::MemoryMonitor(const MonitorOptions& options, OnSample on_sample)
    : options_(options), on_sample_(std::move(on_sample)) {}

MemoryMonitor::~MemoryMonitor() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
  }
  stop_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void MemoryMonitor::Start() {
  thread_ = std::thread([this] {
    while (true) {
      Sample();
      MutexLock lock(mutex_);
      if (!stopped_) lock.WaitFor(stop_, options_.interval);
      if (stopped_) return;
    }
  });
}

void MemoryMonitor::Sample() {
  const MemorySample sample = ReadMemorySample(options_.folders);
  int before, level;
  {
    MutexLock lock(mutex_);
    before = ladder_.level();
    level = ladder_.Update(sample, options_.clock->Now());
    statistics_.level = level;
    statistics_.last = sample;
    if (level != before) ++statistics_.entered[static_cast<size_t>(level)];
  }
  if (level != before) LogChange(before, level, sample);
  if (on_sample_) on_sample_(level, PressureOf(sample));
}

MonitorStatistics MemoryMonitor::Statistics() const {
  MutexLock lock(mutex_);
  return statistics_;
}

}  // namespace fedglm
