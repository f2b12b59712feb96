#include "inference/engine/answer_channel.h"

#include <algorithm>
#include <utility>

namespace fedglm {

bool AnswerChannel::HasRoom(size_t answer) const {
  MutexLock lock(mutex_);
  return tokens_on_the_way_[answer] < kCapacity;
}

void AnswerChannel::Put(size_t answer, AnswerToken token) {
  MutexLock lock(mutex_);
  ++tokens_on_the_way_[answer];
  Append({answer, std::move(token), std::nullopt});
}

void AnswerChannel::Close(size_t answer, AnswerEnd end) {
  MutexLock lock(mutex_);
  Append({answer, std::nullopt, std::move(end)});
}

void AnswerChannel::Append(Item item) {
  items_.push_back(std::move(item));
  arrived_.notify_all();  // several may wait, each for another answer
}

AnswerChannel::Item AnswerChannel::Take(std::chrono::milliseconds timeout) { return TakeFirst(std::nullopt, timeout); }

AnswerChannel::Item AnswerChannel::TakeOf(size_t answer, std::chrono::milliseconds timeout) {
  return TakeFirst(answer, timeout);
}

AnswerChannel::Item AnswerChannel::TakeFirst(std::optional<size_t> answer, std::chrono::milliseconds timeout) {
  Item taken;
  bool was_full = false;
  {
    MutexLock lock(mutex_);
    const auto is_wanted = [&](const Item& item) { return !answer || item.answer == *answer; };
    const auto until = std::chrono::steady_clock::now() + timeout;
    auto found = std::ranges::find_if(items_, is_wanted);
    while (found == items_.end()) {
      const auto left = until - std::chrono::steady_clock::now();
      if (left <= left.zero()) return taken;
      lock.WaitFor(arrived_, left);
      found = std::ranges::find_if(items_, is_wanted);
    }
    taken = std::move(*found);
    items_.erase(found);
    if (taken.token) was_full = tokens_on_the_way_[taken.answer]-- == kCapacity;
  }
  if (was_full) on_room_();
  return taken;
}

}  // namespace fedglm
