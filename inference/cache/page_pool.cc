#include "inference/cache/page_pool.h"

#include <algorithm>
#include <utility>

namespace fedglm {

KvPage::KvPage(PagePool& pool, KvFormat format, ReservedMemory memory)
    : pool_(pool), format_(format), memory_(std::move(memory)) {
  pool_.allocated_.fetch_add(1, std::memory_order_relaxed);
}

KvPage::~KvPage() { pool_.allocated_.fetch_sub(1, std::memory_order_relaxed); }

PageUse::PageUse(std::shared_ptr<KvPage> page) : page_(std::move(page)) {
  if (page_->users_++ == 0) page_->pool_.in_use_.fetch_add(1, std::memory_order_relaxed);
}

PageUse& PageUse::operator=(PageUse&& other) noexcept {
  if (this != &other) {
    Leave();
    page_ = std::move(other.page_);
  }
  return *this;
}

PageUse::~PageUse() { Leave(); }

void PageUse::Leave() {
  if (page_ == nullptr) return;
  if (--page_->users_ == 0) page_->pool_.in_use_.fetch_sub(1, std::memory_order_relaxed);
  page_.reset();
}

absl::StatusOr<std::shared_ptr<KvPage>> PagePool::Allocate(KvFormat format) {
  FEDGLM_ASSIGN_OR_RETURN(
      ReservedMemory memory,
      ReservedMemory::Make(budget_, MemoryAccount::kKvPages, static_cast<uint64_t>(layout_.PageBytes(format))));
  return std::make_shared<KvPage>(*this, format, std::move(memory));
}

int64_t PagePool::Room(KvFormat format) const {
  return static_cast<int64_t>(budget_.free() / static_cast<uint64_t>(layout_.PageBytes(format)));
}

}  // namespace fedglm
