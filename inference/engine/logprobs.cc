#include "inference/engine/logprobs.h"

#include <algorithm>
#include <cmath>

namespace fedglm {

double LogSumExp(std::span<const float> logits) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - highest));
  return std::log(sum) + highest;
}

std::vector<TokenLogprob> LikeliestTokens(std::span<const float> logits, int64_t count, double log_sum_exp) {
  // A heap of the best so far, the least of them in front.
  const auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  };
  std::vector<TokenLogprob> best;
  for (size_t i = 0; i < logits.size(); ++i) {
    const TokenLogprob candidate{static_cast<Token>(i), logits[i]};
    if (static_cast<int64_t>(best.size()) < count) {
      best.push_back(candidate);
      std::push_heap(best.begin(), best.end(), better);
    } else if (count > 0 && better(candidate, best.front())) {
      std::pop_heap(best.begin(), best.end(), better);
      best.back() = candidate;
      std::push_heap(best.begin(), best.end(), better);
    }
  }
  std::sort_heap(best.begin(), best.end(), better);
  for (TokenLogprob& token : best) token.logprob = static_cast<float>(token.logprob - log_sum_exp);
  return best;
}

}  // namespace fedglm
