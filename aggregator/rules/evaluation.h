// The losses that sites report of an adapter, and what they say together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fedglm {

struct SiteLoss {
  double loss = 0;     // mean over `tokens` answer tokens; natural logarithm
  int64_t tokens = 0;  // its weight
};

// Why such a report cannot be taken; empty: nothing is wrong. (A loss of 1,000 is a probability of e^-1000 for each
// token: what no model says.)
std::string FaultOf(const SiteLoss& report);

// The mean by tokens, with no site's weight above `weight_share` of all (CapWeights); 0 of none.
double MeanLoss(const std::vector<SiteLoss>& reports, double weight_share);

}  // namespace fedglm
