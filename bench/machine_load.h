// Who else used the processors while something was measured. A figure from a busy machine says little, and it does
// not fall on all alike: an engine whose threads spin at a barrier loses far more than one whose threads sleep.
#pragma once

namespace fedglm::bench {

// Looks at the whole machine from its construction on.
class MachineLoad {
 public:
  MachineLoad();
  // The share of all processor time since then that went to neither this process nor the children it has waited for:
  // 0 to 1. Includes what the hypervisor gave to other machines. 0 where /proc/stat cannot be read.
  double OthersShare() const;

 private:
  struct Times {
    double all = 0, busy = 0, own = 0;
  };  // seconds
  static Times Now();
  Times start_;
};

}  // namespace fedglm::bench
