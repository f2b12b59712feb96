#include "inference/cache/sequence_cache.h"

#include <utility>

namespace fedglm {

absl::Status SequenceCache::Reserve(int64_t count) {
  const int64_t needed = PagesFor(length_ + count);
  while (pages() < needed) {
    FEDGLM_ASSIGN_OR_RETURN(std::shared_ptr<KvPage> page, pool_->Allocate(format_));
    pages_.emplace_back(std::move(page));
  }
  return absl::OkStatus();
}

void SequenceCache::Append(std::shared_ptr<KvPage> page, int64_t count) {
  pages_.erase(pages_.begin() + length_ / kPageTokens, pages_.end());  // what was reserved but not written
  pages_.emplace_back(std::move(page));
  length_ += count;
}

void SequenceCache::Replace(int64_t index, std::shared_ptr<KvPage> page) {
  pages_[static_cast<size_t>(index)] = PageUse(std::move(page));
}

void SequenceCache::Clear() {
  pages_.clear();
  length_ = 0;
}

}  // namespace fedglm
