// What one forward pass computes: the next positions of several sequences.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inference/cache/sequence_cache.h"
#include "inference/gguf/token.h"
#include "inference/model/bound_adapter.h"

namespace fedglm {

// Consecutive rows of a batch: the positions cache->length() … cache->length() + count - 1 of one sequence.
struct SequenceRows {
  const SequenceCache* cache = nullptr;   // reserved for them
  const BoundAdapter* adapter = nullptr;  // nullptr: the base alone
  int64_t first_row = 0, count = 0;
};

struct Batch {
  std::vector<Token> tokens;            // one a row
  std::vector<SequenceRows> sequences;  // in the order of their rows; a sequence occurs once

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }

  // Appends the sequence's next tokens.
  void Add(const SequenceCache& cache, const BoundAdapter* adapter, std::span<const Token> next) {
    sequences.push_back({&cache, adapter, rows(), static_cast<int64_t>(next.size())});
    tokens.insert(tokens.end(), next.begin(), next.end());
  }
};

}  // namespace fedglm
