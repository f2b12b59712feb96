// A fixed set of threads that split index ranges; the caller's thread takes part. Threads sleep between calls after a
// short spin, so a pool that is idle costs nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/cpu.h"

namespace fedglm {


class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // < 1: UsablePhysicalCores()
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Calls body(begin, end) over disjoint ranges that cover [0, count), each a multiple of `grain` long but the last.
  // Returns when all are done. One ParallelFor at a time; calls from several threads take turns. Not from within body.
  void ParallelFor(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
