// A fixed set of threads that split index ranges; the caller's thread takes part. Threads sleep between calls after a
// short spin, so a pool that is idle costs nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/cpu.h"

namespace fedglm {

// Whether each thread of a pool is kept on a physical core of its own.
enum class ThreadPinning {
  kOff,   // the kernel moves them as it likes
  kAuto,  // where it can do no harm: see thread_pool.cc
  kOn,    // always: for a machine that does nothing else. Cores that share a cache first.
};
// "off", "auto" or "on"; nothing for another word.
std::optional<ThreadPinning> ThreadPinningFromName(std::string_view name);

class ThreadPool {
 public:
  // threads < 1: UsablePhysicalCores(). A machine that gives fewer (ulimit -u, a container's pids.max) gets a smaller
  // pool.
  explicit ThreadPool(int threads, ThreadPinning pinning = ThreadPinning::kOff);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  // The cores that the threads are kept on, the caller's first: [threads]. Empty: they are not kept anywhere.
  const std::vector<Core>& cores() const;

  // Calls body(begin, end) over disjoint ranges that cover [0, count), each a multiple of `grain` long but the last.
  // Returns when all are done. One ParallelFor at a time; calls from several threads take turns. Not from within body.
  // What body throws, on whichever thread, is thrown here; the ranges that were not begun are then left out.
  void ParallelFor(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

  // Keeps the calling thread on the core that a pinned pool leaves for it, for a scope with many calls of ParallelFor;
  // then the thread may run again where it could before. Does nothing for a pool that is not pinned.
  class CallerOnItsCore {
   public:
    explicit CallerOnItsCore(const ThreadPool& pool);
    ~CallerOnItsCore();
    CallerOnItsCore(const CallerOnItsCore&) = delete;
    CallerOnItsCore& operator=(const CallerOnItsCore&) = delete;

   private:
    std::vector<int> before_;  // the thread's processors; empty: not changed
  };

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
