// FedAdam (adaptive.h): v is a moving mean of squared changes.
#pragma once

#include "aggregator/strategy/adaptive.h"

namespace fedglm {

class FedAdam : public AdaptiveStrategy {
 public:
  FedAdam() : AdaptiveStrategy({}) {}
  std::string_view name() const override { return "fedadam"; }

 private:
  double NextMoment(double v, double d) const override { return options_.beta2 * v + (1 - options_.beta2) * d * d; }
};

}  // namespace fedglm
