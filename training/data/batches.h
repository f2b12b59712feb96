// Examples in a shuffled order, packed end to end: no token of padding is ever computed.
#pragma once

#include <cstdint>
#include <vector>

#include "training/data/records.h"

namespace fedglm {

// Examples packed into one row of tokens. Attention does not reach from one segment into another.
struct Batch {
  std::vector<Token> tokens;
  std::vector<int64_t> positions;    // within the segment: what the rotary embedding turns by
  std::vector<int64_t> segments;     // where each begins, and tokens.size() at the end
  std::vector<int64_t> target_rows;  // positions in the batch whose next token counts
  std::vector<Token> targets;        // that next token
  int64_t examples = 0;

  void Add(const Example& example);
};

// The order in which examples are seen: a fresh shuffle each epoch, the same on every machine for the same seed.
class ExampleOrder {
 public:
  // Begins `skip` examples into the order, as if they had been taken before.
  ExampleOrder(int64_t examples, uint64_t seed, int64_t skip);
  int64_t Next();

 private:
  void Shuffle();
  const int64_t examples_;
  const uint64_t seed_;
  int64_t epoch_, position_;
  std::vector<int64_t> order_;
};

// The micro-batches of one optimizer step: examples from `order` until they hold `step_tokens` (at least one), in
// batches of at most `micro_tokens` (at least one example each).
std::vector<Batch> NextStep(const ExampleSet& set, ExampleOrder& order, int64_t step_tokens, int64_t micro_tokens);

// All examples once, in order, in batches of at most `micro_tokens`.
std::vector<Batch> AllBatches(const ExampleSet& set, int64_t micro_tokens);

}  // namespace fedglm
