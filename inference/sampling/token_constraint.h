// What may come next: the interface between sampling and a grammar (inference/grammar).
#pragma once

#include <span>

#include "inference/gguf/token.h"

namespace fedglm {

// The state of one answer. Not thread-safe.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  // Sets the logits of tokens that cannot come next to -infinity. An end-of-generation token is allowed only where the
  // text so far is complete. At least one token stays allowed. logits: [vocabulary].
  virtual void Mask(std::span<float> logits) = 0;
  // `token` was taken; the last Mask allowed it.
  virtual void Accept(Token token) = 0;
};

}  // namespace fedglm
