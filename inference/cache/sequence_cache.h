// The keys and values of one sequence: a table of pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "inference/cache/page_pool.h"

namespace fedglm {

// Not thread-safe, but threads may read and write different rows. Full pages may be shared with other sequences;
// nothing is written below length().
class SequenceCache {
 public:
  // `pool` must outlive the cache.
  SequenceCache(PagePool& pool, KvFormat format) : pool_(&pool), format_(format) {}

  const KvLayout& layout() const { return pool_->layout(); }
  KvFormat format() const { return format_; }
  int64_t length() const { return length_; }  // positions whose keys and values are there
  int64_t pages() const { return static_cast<int64_t>(pages_.size()); }

  // Pages for `count` positions after length(). ResourceExhausted; then those that there was room for are kept.
  absl::Status Reserve(int64_t count);
  // The next `count` positions, which were reserved, have been written.
  void Advance(int64_t count) { length_ += count; }
  // Takes in a page whose first `count` positions are the sequence's next. length() must be a whole number of pages.
  void Append(std::shared_ptr<KvPage> page, int64_t count);
  // Uses `page`, of the same content, in place of its own.
  void Replace(int64_t index, std::shared_ptr<KvPage> page);
  // Forgets everything.
  void Clear();

  const std::shared_ptr<KvPage>& Page(int64_t index) const { return pages_[static_cast<size_t>(index)].page(); }

  // The tile of one head in page `index`: kPageTokens rows of layout().RowBytes(format()).
  std::byte* Keys(int64_t layer, int64_t head, int64_t index) const {
    return Page(index)->data() + layout().KeyOffset(format_, layer, head);
  }
  std::byte* Values(int64_t layer, int64_t head, int64_t index) const {
    return Page(index)->data() + layout().ValueOffset(format_, layer, head);
  }

 private:
  PagePool* pool_;
  KvFormat format_;
  int64_t length_ = 0;
  std::vector<PageUse> pages_;
};

}  // namespace fedglm
