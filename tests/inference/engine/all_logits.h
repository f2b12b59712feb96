// The logits of a whole sequence, for tests.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "inference/engine/engine.h"

namespace fedglm {

// [tokens][vocabulary]. An error of the engine fails the test.
inline std::vector<float> AllLogits(Engine& engine, const std::vector<Token>& tokens) {
  std::vector<float> logits;
  const absl::Status status = engine.Logits(tokens, [&](const float* rows, int64_t count) {
    logits.insert(logits.end(), rows, rows + count * engine.hyperparameters().vocabulary);
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << Message(status);
  return logits;
}

}  // namespace fedglm
