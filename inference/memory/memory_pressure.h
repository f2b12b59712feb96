// How hard programs press on the memory, as one number from 0 to 4, and when it rises and falls.
#pragma once

#include <array>
#include <chrono>
#include <string_view>

#include "base/memory.h"

namespace fedglm {

// The ladder: what is done at each level, beside what is done below it.
inline constexpr int kPressureLevels = 5;
std::string_view PressureAction(int level);  // "smaller batches"

// 0 .. 4 of this instant: from the part of the memory that is left, of the control group or the machine, whichever has
// less, and from the time that tasks stall for memory.
int PressureOf(const MemorySample& sample);

// The part of the control group's limit or of the machine's memory, whichever is less, that is left. 1 if nothing is
// known.
double MemoryLeft(const MemorySample& sample);

// Up at once, to whatever a sample says; down one level after kCalm without a sample at the present level or above, so
// that what was given up is not taken back only to be given up again.
class PressureLadder {
 public:
  static constexpr std::chrono::seconds kCalm{10};

  int Update(const MemorySample& sample, std::chrono::system_clock::time_point now);
  int level() const { return level_; }

 private:
  int level_ = 0;
  std::chrono::system_clock::time_point last_pressed_;  // when a sample was last at level_ or above
};

}  // namespace fedglm
