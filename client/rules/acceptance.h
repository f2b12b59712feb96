// A site's own word on the adapters of its federation: what it measured on its own records decides what answers there.
#pragma once

#include <cstdint>

namespace fedglm {

// Of one adapter on the site's held-out records, or on those of its training records that it sets aside.
struct MeasuredLoss {
  double loss = 0;     // mean over `tokens` answer tokens; natural logarithm
  int64_t tokens = 0;  // losses over different numbers of them are of different records: not to be compared
};

// Whether an adapter may take the place of the installed one: its loss is finite, and not above that one's by more than
// this part of it (0.05: 5 %) and a hundredth of a nat.
bool Accepts(const MeasuredLoss& candidate, const MeasuredLoss& installed, double max_regression);

}  // namespace fedglm
