// The threads that serve connections: as many as there are connections, up to a limit; more connections wait. A thread
// that waits for a client costs some kilobytes, so refusing a request never has to wait for one that is computed.
#pragma once

#include <httplib.h>

#include <deque>
#include <functional>
#include <system_error>
#include <thread>
#include <vector>

#include "base/thread_annotations.h"

namespace fedglm {

// Thread-safe.
class ConnectionThreads : public httplib::TaskQueue {
 public:
  explicit ConnectionThreads(size_t limit) : limit_(limit) {}

  void enqueue(std::function<void()> connection) override {
    MutexLock lock(mutex_);
    waiting_.push_back(std::move(connection));
    if (waiting_.size() > idle_ && threads_.size() < limit_) AddThread();
    arrived_.notify_one();
  }

  // What waits is still served: only then is its socket closed.
  void shutdown() override {
    std::vector<std::thread> threads;
    {
      MutexLock lock(mutex_);
      ending_ = true;
      threads.swap(threads_);
      arrived_.notify_all();
    }
    for (std::thread& thread : threads) thread.join();
  }

 private:
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
        while (waiting_.empty() && !ending_) lock.Wait(arrived_);
        --idle_;
        if (waiting_.empty()) return;
        connection = std::move(waiting_.front());
        waiting_.pop_front();
      }
      connection();
    }
  }

  const size_t limit_;
  Mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace fedglm
