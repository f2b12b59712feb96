#include "inference/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

namespace fedglm {
namespace {

// A double in [0, 1) from 53 bits: std::uniform_real_distribution differs between standard libraries.
double UniformDouble(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

constexpr size_t kFirstSorted = 64;
constexpr double kNegligible = -50;  // of logit differences over the temperature: the vocabulary's sum loses nothing

bool MoreLikely(const std::pair<float, Token>& a, const std::pair<float, Token>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

absl::Status CheckNumber(const char* name, double value, double lowest, double highest) {
  if (value >= lowest && value <= highest) return absl::OkStatus();  // not so for NaN
  char text[160];
  std::snprintf(text, sizeof text, "%s is %g, not from %g to %g", name, value, lowest, highest);
  return UsageError(text);
}

}  // namespace

absl::Status CheckSampling(const SamplingOptions& options, int64_t vocabulary) {
  constexpr double kMost = std::numeric_limits<float>::max();  // logits are float32
  FEDGLM_RETURN_IF_ERROR(CheckNumber("temperature", options.temperature, 0, kMost));
  FEDGLM_RETURN_IF_ERROR(CheckNumber("top_p", options.top_p, 0, 1));
  FEDGLM_RETURN_IF_ERROR(CheckNumber("min_p", options.min_p, 0, 1));
  FEDGLM_RETURN_IF_ERROR(CheckNumber("repetition_penalty", options.repetition_penalty, 0.01, 100));
  FEDGLM_RETURN_IF_ERROR(CheckNumber("frequency_penalty", options.frequency_penalty, -kMost, kMost));
  FEDGLM_RETURN_IF_ERROR(CheckNumber("presence_penalty", options.presence_penalty, -kMost, kMost));
  if (options.top_k < 0) return UsageError("top_k is " + std::to_string(options.top_k) + ", below 0");
  for (const auto& [token, bias] : options.logit_bias) {
    FEDGLM_RETURN_IF_ERROR(CheckNumber("logit_bias", bias, -kMost, kMost));
    if (token < 0 || token >= vocabulary) {
      return UsageError("logit_bias names token " + std::to_string(token) + ", which is not in the vocabulary of " +
                        std::to_string(vocabulary));
    }
  }
  return absl::OkStatus();
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  random_.seed(options.seed != 0 ? options.seed : (uint64_t{std::random_device{}()} << 32 | std::random_device{}()));
}

void Sampler::Accept(Token token) {
  if (answering_ && (options_.frequency_penalty != 0 || options_.presence_penalty != 0)) ++answered_[token];
  if (options_.repetition_penalty == 1.0 || options_.repetition_window <= 0) return;
  recent_.push_back(token);
  if (static_cast<int64_t>(recent_.size()) > options_.repetition_window) recent_.erase(recent_.begin());
}

std::pair<float, Token>* Sampler::Find(Token token) {
  const auto at =
      std::lower_bound(candidates_.begin(), candidates_.end(), token,
                       [](const std::pair<float, Token>& candidate, Token t) { return candidate.second < t; });
  return at != candidates_.end() && at->second == token ? &*at : nullptr;
}

void Sampler::ShiftLogits() {
  const auto add = [this](Token token, double value) {
    if (std::pair<float, Token>* const candidate = Find(token)) candidate->first += static_cast<float>(value);
  };
  for (const auto& [token, bias] : options_.logit_bias) add(token, bias);
  for (const auto& [token, times] : answered_) {
    add(token, -static_cast<double>(times) * options_.frequency_penalty - options_.presence_penalty);
  }
  // Keskar et al. 2019 (CTRL): a repeated token's logit is divided if positive, multiplied if negative.
  std::vector<Token> seen = recent_;
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  const float penalty = static_cast<float>(options_.repetition_penalty);
  for (const Token token : seen) {
    std::pair<float, Token>* const candidate = Find(token);
    if (candidate == nullptr) continue;
    float& logit = candidate->first;
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

void Sampler::SortUpTo(size_t count) {
  if (count <= sorted_) return;
  // A vocabulary has 150 thousand tokens, of which a few are likely.
  const size_t next = std::min(candidates_.size(), std::max(count, sorted_ == 0 ? kFirstSorted : 8 * sorted_));
  const auto begin = candidates_.begin() + static_cast<ptrdiff_t>(sorted_);
  const auto end = candidates_.begin() + static_cast<ptrdiff_t>(next);
  if (next < candidates_.size()) std::nth_element(begin, end, candidates_.end(), MoreLikely);
  std::sort(begin, end, MoreLikely);
  sorted_ = next;
}

Token Sampler::Sample(std::span<const float> logits) {
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isnan(logits[i])) candidates_.emplace_back(logits[i], static_cast<Token>(i));
  }
  answering_ = true;
  if (candidates_.empty()) return 0;
  ShiftLogits();
  if (options_.temperature <= 0) return std::min_element(candidates_.begin(), candidates_.end(), MoreLikely)->second;

  sorted_ = 0;
  size_t kept = candidates_.size();
  if (options_.top_k > 0) kept = std::min(kept, static_cast<size_t>(options_.top_k));
  SortUpTo(kept < candidates_.size() ? kept : 1);

  // Probabilities at the asked temperature; top-p and min-p look at these.
  const double highest = candidates_.front().first;
  const auto weight = [&](size_t i) { return std::exp((candidates_[i].first - highest) / options_.temperature); };
  double total = 0;
  for (size_t i = 0; i < kept; ++i) {
    if (candidates_[i].first - highest > kNegligible * options_.temperature) total += weight(i);
  }
  size_t allowed = kept;
  double sum = total;
  if (options_.top_p < 1 || options_.min_p > 0) {
    sum = 0;
    for (allowed = 0; allowed < kept; ++allowed) {
      SortUpTo(allowed + 1);
      const double next = weight(allowed);
      if (allowed > 0 && (sum >= options_.top_p * total || next < options_.min_p)) break;
      sum += next;
    }
  }
  double point = UniformDouble(random_) * sum;
  for (size_t i = 0; i < allowed; ++i) {
    SortUpTo(i + 1);
    point -= weight(i);
    if (point < 0) return candidates_[i].second;
  }
  return candidates_[allowed - 1].second;
}

}  // namespace fedglm
