// The pages that all sequences' keys and values lie in, charged to the memory budget's account kKvPages.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/status.h"
#include "inference/cache/kv_layout.h"
#include "inference/memory/memory_budget.h"
#include "inference/memory/reserved_memory.h"

namespace fedglm {

class PagePool;

// Lives as long as a sequence or the prefix tree holds it.
class KvPage {
 public:
  KvPage(PagePool& pool, KvFormat format, ReservedMemory memory);
  ~KvPage();
  KvPage(const KvPage&) = delete;
  KvPage& operator=(const KvPage&) = delete;

  std::byte* data() const { return memory_.data(); }
  KvFormat format() const { return format_; }
  bool in_use() const { return users_ > 0; }

 private:
  friend class PageUse;
  PagePool& pool_;
  const KvFormat format_;
  const ReservedMemory memory_;
  int64_t users_ = 0;  // sequences
};

// A sequence's hold on a page: what is in use is not evicted.
class PageUse {
 public:
  explicit PageUse(std::shared_ptr<KvPage> page);
  PageUse(PageUse&& other) noexcept = default;
  PageUse& operator=(PageUse&& other) noexcept;
  ~PageUse();
  const std::shared_ptr<KvPage>& page() const { return page_; }

 private:
  void Leave();
  std::shared_ptr<KvPage> page_;
};

// One user at a time; the counts may be read from any thread. Pages must not outlive it.
class PagePool {
 public:
  // `budget` must outlive the pool.
  PagePool(const KvLayout& layout, MemoryBudget& budget) : layout_(layout), budget_(budget) {}

  const KvLayout& layout() const { return layout_; }

  // ResourceExhausted if the budget has no room.
  absl::StatusOr<std::shared_ptr<KvPage>> Allocate(KvFormat format);

  int64_t Room(KvFormat format) const;  // how many more pages the budget would give now

  int64_t allocated() const { return allocated_.load(std::memory_order_relaxed); }
  int64_t in_use() const { return in_use_.load(std::memory_order_relaxed); }  // by sequences
  int64_t idle() const { return allocated() - in_use(); }                     // only kept for who may need them again

 private:
  friend class KvPage;
  friend class PageUse;
  const KvLayout layout_;
  MemoryBudget& budget_;
  std::atomic<int64_t> allocated_{0}, in_use_{0};
};

}  // namespace fedglm
