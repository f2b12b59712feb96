// Who may use what can be used by one at a time: the model's workspace, the cache and the thread pool.
#pragma once

#include <condition_variable>
#include <cstdint>

#include "base/thread_annotations.h"

namespace fedglm {

// Turns in the order of arrival. Thread-safe. A turn is a capability: what belongs to whoever has it is
// ABSL_GUARDED_BY the queue.
class ABSL_LOCKABLE TurnQueue {
 public:
  void Enter() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    MutexLock lock(mutex_);
    const uint64_t ticket = next_++;
    while (ticket != serving_) lock.Wait(turn_);
  }
  void Leave() ABSL_UNLOCK_FUNCTION() {
    MutexLock lock(mutex_);
    ++serving_;
    turn_.notify_all();
  }

 private:
  Mutex mutex_;
  std::condition_variable turn_;
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t serving_ ABSL_GUARDED_BY(mutex_) = 0;
};

// A turn for a scope.
class ABSL_SCOPED_LOCKABLE Turn {
 public:
  explicit Turn(TurnQueue& queue) ABSL_EXCLUSIVE_LOCK_FUNCTION(queue) : queue_(queue) { queue_.Enter(); }
  ~Turn() ABSL_UNLOCK_FUNCTION() { queue_.Leave(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  TurnQueue& queue_;
};

}  // namespace fedglm
