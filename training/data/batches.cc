#include "training/data/batches.h"

#include <numeric>

namespace fedglm {
namespace {

// Sebastiano Vigna's SplitMix64 (https://prng.di.unimi.it/splitmix64.c): small, and the same everywhere.
uint64_t SplitMix(uint64_t& state) {
  uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

bool HasRoom(const Batch& batch, const Example& example, int64_t limit) {
  return batch.tokens.empty() || static_cast<int64_t>(batch.tokens.size() + example.tokens.size()) <= limit;
}

void AddTo(std::vector<Batch>& batches, const Example& example, int64_t micro_tokens) {
  if (batches.empty() || !HasRoom(batches.back(), example, micro_tokens)) batches.emplace_back();
  batches.back().Add(example);
}

}  // namespace

void Batch::Add(const Example& example) {
  if (segments.empty()) segments.push_back(0);
  const int64_t start = segments.back();
  for (size_t i = 0; i < example.tokens.size(); ++i) {
    tokens.push_back(example.tokens[i]);
    positions.push_back(static_cast<int64_t>(i));
    if (i == 0 || !example.counted[i]) continue;
    target_rows.push_back(start + static_cast<int64_t>(i) - 1);
    targets.push_back(example.tokens[i]);
  }
  segments.push_back(static_cast<int64_t>(tokens.size()));
  ++examples;
}

ExampleOrder::ExampleOrder(int64_t examples, uint64_t seed, int64_t skip)
    : examples_(examples), seed_(seed), epoch_(skip / examples), position_(skip % examples) {
  Shuffle();
}

void ExampleOrder::Shuffle() {
  order_.resize(static_cast<size_t>(examples_));
  std::iota(order_.begin(), order_.end(), int64_t{0});
  uint64_t state = seed_ * 0x2545F4914F6CDD1Du + static_cast<uint64_t>(epoch_);
  for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[SplitMix(state) % i]);
}

int64_t ExampleOrder::Next() {
  if (position_ == examples_) {
    position_ = 0;
    ++epoch_;
    Shuffle();
  }
  return order_[static_cast<size_t>(position_++)];
}

std::vector<Batch> NextStep(const ExampleSet& set, ExampleOrder& order, int64_t step_tokens, int64_t micro_tokens) {
  std::vector<Batch> batches;
  int64_t tokens = 0;
  do {
    const Example& example = set.examples[static_cast<size_t>(order.Next())];
    tokens += static_cast<int64_t>(example.tokens.size());
    AddTo(batches, example, micro_tokens);
  } while (tokens < step_tokens);
  return batches;
}

std::vector<Batch> AllBatches(const ExampleSet& set, int64_t micro_tokens) {
  std::vector<Batch> batches;
  for (const Example& example : set.examples) AddTo(batches, example, micro_tokens);
  return batches;
}

}  // namespace fedglm
