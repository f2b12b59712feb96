#include "inference/memory/memory_pressure.h"

#include <algorithm>

namespace fedglm {
namespace {

// What begins level 1, 2, 3 and 4. The budget's default leaves a sixteenth (6.25 %) of a group's limit: below what a
// plan itself uses, it is others' memory, or ours that no account knew.
constexpr std::array<double, 4> kLeft = {0.05, 0.035, 0.025, 0.015};
constexpr std::array<double, 4> kStall = {5, 15, 30, 60};  // percent of the time
// Other groups on the machine may stall at limits of their own; that is ours to help only when the machine is short
// too.
constexpr double kMachineShort = 0.2;

double Part(uint64_t part, uint64_t whole) { return static_cast<double>(part) / static_cast<double>(whole); }

double MachineLeft(const MemorySample& sample) {
  return sample.machine_total == 0 ? 1 : Part(sample.machine_available, sample.machine_total);
}

}  // namespace

std::string_view PressureAction(int level) {
  constexpr std::array<std::string_view, kPressureLevels> kActions = {
      "nothing", "smaller batches", "evicting and quantizing KV pages, one answer at a time", "unpinning layers",
      "refusing new work"};
  return kActions[static_cast<size_t>(std::clamp(level, 0, kPressureLevels - 1))];
}

double MemoryLeft(const MemorySample& sample) {
  const double group =
      sample.group_limit == 0
          ? 1
          : Part(sample.group_limit - std::min(sample.group_limit, sample.group_used), sample.group_limit);
  return std::min(group, MachineLeft(sample));
}

int PressureOf(const MemorySample& sample) {
  const double left = MemoryLeft(sample);
  const double stall = std::max(sample.group_stall, MachineLeft(sample) < kMachineShort ? sample.machine_stall : 0.0);
  int level = 0;
  for (size_t i = 0; i < kLeft.size(); ++i) {
    if (left < kLeft[i] || stall > kStall[i]) level = static_cast<int>(i) + 1;
  }
  return level;
}

int PressureLadder::Update(const MemorySample& sample, std::chrono::system_clock::time_point now) {
  const int pressed = PressureOf(sample);
  if (pressed >= level_) {
    level_ = pressed;
    last_pressed_ = now;
  } else if (now - last_pressed_ >= kCalm) {
    --level_;
    last_pressed_ = now;  // the next step down takes as long
  }
  return level_;
}

}  // namespace fedglm
