// FedYogi (adaptive.h): v goes towards the squared change by steps of that size, so that it forgets slowly.
#pragma once

#include "aggregator/strategy/adaptive.h"

namespace fedglm {

class FedYogi : public AdaptiveStrategy {
 public:
  FedYogi() : AdaptiveStrategy({}) {}
  std::string_view name() const override { return "fedyogi"; }

 private:
  double NextMoment(double v, double d) const override {
    const double square = d * d, step = (1 - options_.beta2) * square;
    return v > square ? v - step : v < square ? v + step : v;
  }
};

}  // namespace fedglm
