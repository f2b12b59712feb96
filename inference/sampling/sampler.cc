#include "inference/sampling/sampler.h"

#include <algorithm>
#include <cmath>

namespace fedglm {
namespace {

// A double in [0, 1) from 53 bits: std::uniform_real_distribution differs between standard libraries.
double UniformDouble(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

bool MoreLikely(const std::pair<float, Token>& a, const std::pair<float, Token>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  random_.seed(options.seed != 0 ? options.seed : (uint64_t{std::random_device{}()} << 32 | std::random_device{}()));
}

void Sampler::Accept(Token token) {
  if (options_.repetition_penalty == 1.0 || options_.repetition_window <= 0) return;
  recent_.push_back(token);
  if (static_cast<int64_t>(recent_.size()) > options_.repetition_window) recent_.erase(recent_.begin());
}

Token Sampler::Sample(std::span<const float> logits) {
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isnan(logits[i])) candidates_.emplace_back(logits[i], static_cast<Token>(i));
  }
  if (candidates_.empty()) return 0;

  // Keskar et al. 2019 (CTRL): a repeated token's logit is divided if positive, multiplied if negative.
  std::vector<Token> seen = recent_;
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (auto& [logit, token] : candidates_) {
    if (!std::binary_search(seen.begin(), seen.end(), token)) continue;
    const float penalty = static_cast<float>(options_.repetition_penalty);
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
  if (options_.temperature <= 0) return std::min_element(candidates_.begin(), candidates_.end(), MoreLikely)->second;

  size_t kept = candidates_.size();
  if (options_.top_k > 0) kept = std::min(kept, static_cast<size_t>(options_.top_k));
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(kept), candidates_.end(), MoreLikely);
  candidates_.resize(kept);

  // Probabilities at the asked temperature; top-p and min-p look at these.
  const double highest = candidates_.front().first;
  std::vector<double> weights(kept);
  double total = 0;
  for (size_t i = 0; i < kept; ++i) {
    weights[i] = std::exp((candidates_[i].first - highest) / options_.temperature);
    total += weights[i];
  }
  size_t allowed = 0;
  double sum = 0;
  while (allowed < kept) {
    if (allowed > 0 && (sum >= options_.top_p * total || weights[allowed] < options_.min_p * weights[0])) break;
    sum += weights[allowed++];
  }
  double point = UniformDouble(random_) * sum;
  for (size_t i = 0; i < allowed; ++i) {
    point -= weights[i];
    if (point < 0) return candidates_[i].second;
  }
  return candidates_[allowed - 1].second;
}

}  // namespace fedglm
