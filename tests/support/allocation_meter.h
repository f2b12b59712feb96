// How much a piece of code allocates. A program that asks links allocation_meter.cc, which replaces operator new and
// delete.
#pragma once

#include <cstdint>

namespace fedglm {

// From its construction on, over all threads. One at a time.
class AllocationMeter {
 public:
  AllocationMeter();
  int64_t peak() const;  // bytes: the most that was allocated at one instant, beyond what was before

 private:
  int64_t before_;
};

}  // namespace fedglm
