#include "inference/cache/kv_cache.h"

#include <string>

namespace fedglm {

KvCache::KvCache(const KvShape& shape, MemoryBudget& budget) : shape_(shape), budget_(budget) {}

absl::Status KvCache::Extend(int64_t count) {
  if (length_ + count > shape_.context) {
    return UsageError(std::to_string(length_ + count) + " tokens do not fit the context of " +
                      std::to_string(shape_.context));
  }
  const size_t needed = static_cast<size_t>((length_ + count + kPageTokens - 1) / kPageTokens);
  const size_t floats = static_cast<size_t>(shape_.layers * kPageTokens * shape_.kv_width);
  while (pages_.size() < needed) {
    Page page;
    FEDGLM_ASSIGN_OR_RETURN(page.reservation, budget_.Reserve(MemoryAccount::kKvPages, 2 * floats * sizeof(float)));
    page.keys.resize(floats);
    page.values.resize(floats);
    pages_.push_back(std::move(page));
  }
  length_ += count;
  return absl::OkStatus();
}

void KvCache::Truncate(int64_t length) {
  if (length >= length_) return;
  length_ = length;
  pages_.resize(static_cast<size_t>((length + kPageTokens - 1) / kPageTokens));
}

float* KvCache::Key(int64_t layer, int64_t position) {
  return pages_[static_cast<size_t>(position / kPageTokens)].keys.data() + Offset(layer, position);
}

float* KvCache::Value(int64_t layer, int64_t position) {
  return pages_[static_cast<size_t>(position / kPageTokens)].values.data() + Offset(layer, position);
}

}  // namespace fedglm
