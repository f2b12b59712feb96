// FedAdagrad (adaptive.h): v is the sum of all squared changes, so that steps become smaller for ever. β1 is 0 if
// nobody says otherwise, as in the paper; β2 has no meaning.
#pragma once

#include "aggregator/strategy/adaptive.h"

namespace fedglm {

class FedAdagrad : public AdaptiveStrategy {
 public:
  FedAdagrad() : AdaptiveStrategy({.beta1 = 0}) {}
  std::string_view name() const override { return "fedadagrad"; }

 private:
  double NextMoment(double v, double d) const override { return v + d * d; }
};

}  // namespace fedglm
