// Log-probabilities of the next token, from its logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inference/engine/generation.h"

namespace fedglm {

// The natural logarithm of the sum of exp(logits): what turns a logit into a log-probability. Summed in double.
double LogSumExp(std::span<const float> logits);

// The `count` likeliest tokens, likeliest first, the lower id first among equals.
std::vector<TokenLogprob> LikeliestTokens(std::span<const float> logits, int64_t count, double log_sum_exp);

}  // namespace fedglm
