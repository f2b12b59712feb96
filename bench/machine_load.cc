#include "bench/machine_load.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace fedglm::bench {
namespace {

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

double ProcessorSeconds(int who) {
  rusage usage{};
  getrusage(who, &usage);
  return Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
}

}  // namespace

MachineLoad::MachineLoad() : start_(Now()) {}

double MachineLoad::OthersShare() const {
  const Times now = Now();
  const double all = now.all - start_.all;
  if (all <= 0) return 0;
  return std::clamp(((now.busy - start_.busy) - (now.own - start_.own)) / all, 0.0, 1.0);
}

MachineLoad::Times MachineLoad::Now() {
  Times times;
  times.own = ProcessorSeconds(RUSAGE_SELF) + ProcessorSeconds(RUSAGE_CHILDREN);
  // "cpu user nice system idle iowait irq softirq steal guest guest_nice", in ticks; guest time is in user's already.
  std::ifstream file("/proc/stat");
  std::string label;
  file >> label;
  const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  double ticks = 0;
  for (int column = 0; column < 8 && file >> ticks; ++column) {
    times.all += ticks * tick;
    if (column != 3 && column != 4) times.busy += ticks * tick;
  }
  return times;
}

}  // namespace fedglm::bench
