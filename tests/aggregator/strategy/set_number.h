// For tests: a hyperparameter of a strategy, by the key that an operator writes.
#pragma once

#include <gtest/gtest.h>

#include <string_view>

#include "aggregator/strategy/strategy.h"

namespace fedglm {

inline void SetNumber(Strategy& strategy, std::string_view key, double value) {
  bool known = false;
  const auto set = [&](std::string_view name, double& number, double, double) {
    if (name == key) number = value, known = true;
    return absl::OkStatus();
  };
  EXPECT_TRUE(strategy.Visit(set).ok() && known) << key;
}

}  // namespace fedglm
