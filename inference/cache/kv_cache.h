// Keys and values of the positions seen so far, in pages that are taken from the memory budget as they are needed.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "inference/memory/memory_budget.h"

namespace fedglm {

struct KvShape {
  int64_t layers = 0;
  int64_t kv_width = 0;  // K/V heads times head size, of keys and of values
  int64_t context = 0;   // most positions
};

// Float32. One sequence. Not thread-safe, but threads may read and write different positions between Extend calls.
class KvCache {
 public:
  static constexpr int64_t kPageTokens = 64;

  // `budget` must outlive the cache.
  KvCache(const KvShape& shape, MemoryBudget& budget);

  int64_t length() const { return length_; }
  int64_t context() const { return shape_.context; }

  // Makes room for `count` more positions. ResourceExhausted if the budget has none; UsageError past the context.
  absl::Status Extend(int64_t count);
  // Forgets the positions from `length` on, and gives back pages that held nothing else.
  void Truncate(int64_t length);

  // [kv_width] of one position below length(); positions of one page follow each other.
  float* Key(int64_t layer, int64_t position);
  float* Value(int64_t layer, int64_t position);

 private:
  struct Page {
    MemoryReservation reservation;
    std::vector<float> keys, values;  // [layers][kPageTokens][kv_width]
  };
  int64_t Offset(int64_t layer, int64_t position) const {
    return (layer * kPageTokens + position % kPageTokens) * shape_.kv_width;
  }
  KvShape shape_;
  MemoryBudget& budget_;
  int64_t length_ = 0;
  std::vector<Page> pages_;
};

}  // namespace fedglm
