// The threads that serve connections: as many as there are connections, up to a limit; more connections wait. A thread
// that waits for a client costs some kilobytes, so refusing a request never has to wait for one that is computed. A
// thread that had nothing to do for a while ends.
#pragma once

#include <httplib.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/thread_annotations.h"

namespace fedglm {

// Thread-safe.
class ConnectionThreads : public httplib::TaskQueue {
 public:
  // Void in Debian 12's cpp-httplib. Debian 13's asks whether the queue took the connection: this one always does.
  using Taken = decltype(std::declval<httplib::TaskQueue&>().enqueue(std::function<void()>()));

  explicit ConnectionThreads(size_t limit, std::chrono::milliseconds longest_idle = std::chrono::seconds(10))
      : limit_(limit), longest_idle_(longest_idle) {}

  Taken enqueue(std::function<void()> connection) override {
    std::vector<std::thread> ended;  // joined when the lock is free
    {
      MutexLock lock(mutex_);
      waiting_.push_back(std::move(connection));
      if (waiting_.size() > idle_ && threads_.size() < limit_) AddThread();
      arrived_.notify_one();
      ended.swap(ended_);
    }
    Join(ended);
    return Taken(true);  // of no meaning where Taken is void
  }

  // What waits is still served: only then is its socket closed.
  void shutdown() override {
    std::vector<std::thread> threads, ended;
    {
      MutexLock lock(mutex_);
      ending_ = true;
      threads.swap(threads_);
      ended.swap(ended_);
      arrived_.notify_all();
    }
    Join(threads);
    Join(ended);
  }

  size_t threads() {
    MutexLock lock(mutex_);
    return threads_.size();
  }

 private:
  static void Join(std::vector<std::thread>& threads) {
    for (std::thread& thread : threads) thread.join();
  }

  void AddThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    try {
      threads_.emplace_back([this] { Serve(); });
    } catch (const std::system_error&) {
      // The process may have no more threads: the connection waits for one of those there are.
    }
  }

  void Serve() {
    while (true) {
      std::function<void()> connection;
      {
        MutexLock lock(mutex_);
        ++idle_;
        while (waiting_.empty() && !ending_) {
          if (lock.WaitFor(arrived_, longest_idle_) == std::cv_status::timeout) break;
        }
        --idle_;
        if (waiting_.empty()) return Leave();
        connection = std::move(waiting_.front());
        waiting_.pop_front();
      }
      connection();
    }
  }

  // What is left of this thread is joined by the next connection; at the end by shutdown(), which has taken it already.
  void Leave() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto self = std::find_if(threads_.begin(), threads_.end(), [](const std::thread& thread) {
      return thread.get_id() == std::this_thread::get_id();
    });
    if (self == threads_.end()) return;
    ended_.push_back(std::move(*self));
    threads_.erase(self);
  }

  const size_t limit_;
  const std::chrono::milliseconds longest_idle_;
  Mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> ended_ ABSL_GUARDED_BY(mutex_);  // or about to
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace fedglm
