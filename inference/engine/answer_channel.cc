#include "inference/engine/answer_channel.h"

#include <utility>

namespace fedglm {

bool AnswerChannel::HasRoom() const {
  MutexLock lock(mutex_);
  return tokens_.size() < kCapacity;
}

void AnswerChannel::Put(AnswerToken token) {
  MutexLock lock(mutex_);
  tokens_.push_back(std::move(token));
  arrived_.notify_one();
}

void AnswerChannel::Close(AnswerEnd end) {
  MutexLock lock(mutex_);
  end_ = std::move(end);
  arrived_.notify_one();
}

AnswerChannel::Item AnswerChannel::Take(std::chrono::milliseconds timeout) {
  Item item;
  bool was_full = false;
  {
    MutexLock lock(mutex_);
    const auto until = std::chrono::steady_clock::now() + timeout;
    while (tokens_.empty() && !end_) {
      const auto left = until - std::chrono::steady_clock::now();
      if (left <= left.zero()) return item;
      lock.WaitFor(arrived_, left);
    }
    if (tokens_.empty()) {
      item.end = std::move(end_);
      return item;
    }
    was_full = tokens_.size() >= kCapacity;
    item.token = std::move(tokens_.front());
    tokens_.pop_front();
  }
  if (was_full) on_room_();
  return item;
}

}  // namespace fedglm
