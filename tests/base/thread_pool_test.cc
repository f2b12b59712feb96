#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "base/thread_annotations.h"

namespace fedglm {
namespace {

// Ranges that several threads note.
class Ranges {
 public:
  using List = std::vector<std::pair<int64_t, int64_t>>;
  void Add(int64_t begin, int64_t end) {
    MutexLock lock(mutex_);
    list_.emplace_back(begin, end);
  }
  List Get() {
    MutexLock lock(mutex_);
    return list_;
  }

 private:
  Mutex mutex_;
  List list_ ABSL_GUARDED_BY(mutex_);
};

TEST(ThreadPool, HasTheThreadsThatWereAskedFor) {
  EXPECT_EQ(ThreadPool(1).threads(), 1);
  EXPECT_EQ(ThreadPool(3).threads(), 3);
  EXPECT_EQ(ThreadPool(0).threads(), UsablePhysicalCores());
  EXPECT_GE(UsablePhysicalCores(), 1);
}

// In a process of its own, whose user may have three threads in all. 0: the pool has no more and visits every index.
[[noreturn]] void MakeAPoolOfThreeOfSixtyFour() {
  constexpr uid_t kNobodyElse = 54321;  // root has no such limit
  if (geteuid() == 0 && setresuid(kNobodyElse, kNobodyElse, kNobodyElse) != 0) _exit(1);
  const rlimit limit = {3, 3};
  if (setrlimit(RLIMIT_NPROC, &limit) != 0) _exit(2);
  {
    ThreadPool pool(64);
    if (pool.threads() > 3) _exit(3);
    std::atomic<int64_t> visited{0};
    pool.ParallelFor(1000, 1, [&](int64_t begin, int64_t end) { visited += end - begin; });
    if (visited != 1000) _exit(4);
  }
  _exit(0);
}

TEST(ThreadPool, AMachineThatGivesFewerThreadsGetsASmallerPool) {
  EXPECT_EXIT(MakeAPoolOfThreeOfSixtyFour(), testing::ExitedWithCode(0), "");
}

TEST(ThreadPool, EveryIndexIsVisitedOnceInRangesOfTheGrain) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (const int64_t count : {1, 2, 7, 64, 1000, 1003}) {
      for (const int64_t grain : {1, 3, 64, 5000}) {
        std::vector<int> visits(static_cast<size_t>(count));  // each written by one thread, read after all are done
        Ranges odd;
        pool.ParallelFor(count, grain, [&](int64_t begin, int64_t end) {
          const bool of_the_grain = begin % grain == 0 && (end - begin == grain || end == count);
          const bool good = begin < end && (threads == 1 || of_the_grain);
          if (!good) odd.Add(begin, end);
          for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
        });
        EXPECT_EQ(visits, std::vector<int>(static_cast<size_t>(count), 1)) << threads << " " << count << " " << grain;
        EXPECT_EQ(odd.Get(), Ranges::List());
      }
    }
  }
}

TEST(ThreadPool, NothingToDoIsNotDone) {
  ThreadPool pool(2);
  int calls = 0;
  pool.ParallelFor(0, 1, [&](int64_t, int64_t) { ++calls; });
  pool.ParallelFor(-5, 1, [&](int64_t, int64_t) { ++calls; });
  EXPECT_EQ(calls, 0);
}

TEST(ThreadPool, AGrainBelowOneIsOne) {
  ThreadPool pool(2);
  std::atomic<int> visits{0};
  pool.ParallelFor(10, 0, [&](int64_t begin, int64_t end) { visits += static_cast<int>(end - begin); });
  EXPECT_EQ(visits, 10);
}

// Workers that are late for one call must not take part in the next with the last one's body.
TEST(ThreadPool, ManyShortCallsFollowEachOther) {
  ThreadPool pool(4);
  for (int64_t call = 0; call < 2000; ++call) {
    std::atomic<int64_t> sum{0};
    pool.ParallelFor(8, 1, [&sum, call](int64_t begin, int64_t) { sum += begin + call; });
    ASSERT_EQ(sum, 28 + 8 * call);
  }
}

TEST(ThreadPool, WorkersWakeFromSleep) {
  ThreadPool pool(3);
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int64_t> sum{0};
    pool.ParallelFor(100, 1, [&](int64_t begin, int64_t) { sum += begin; });
    EXPECT_EQ(sum, 4950);
  }
}

TEST(ThreadPool, SeveralCallersTakeTurns) {
  ThreadPool pool(3);
  constexpr int kCallers = 4;
  std::vector<int64_t> sums(kCallers);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      for (int call = 0; call < 100; ++call) {
        std::vector<int64_t> parts(50);
        pool.ParallelFor(50, 1, [&](int64_t i, int64_t) { parts[static_cast<size_t>(i)] = i * (caller + 1); });
        sums[static_cast<size_t>(caller)] += std::accumulate(parts.begin(), parts.end(), int64_t{0});
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (int caller = 0; caller < kCallers; ++caller) {
    EXPECT_EQ(sums[static_cast<size_t>(caller)], 100 * 1225 * (caller + 1));
  }
}

TEST(ThreadPool, EndsWhileItsWorkersAreStillStarting) {
  for (int i = 0; i < 50; ++i) ThreadPool pool(4);
}

TEST(ThreadPool, ThrowsWhatABodyThrewOnAnyThread) {
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (int64_t failing = 0; failing < 40; failing += 13) {
      EXPECT_THROW(pool.ParallelFor(40, 1,
                                    [&](int64_t begin, int64_t end) {
                                      if (begin <= failing && failing < end) throw std::bad_alloc();
                                    }),
                   std::bad_alloc);
      std::atomic<int64_t> done{0};  // and works on
      pool.ParallelFor(40, 1, [&](int64_t begin, int64_t end) { done += end - begin; });
      EXPECT_EQ(done, 40);
    }
  }
}

}  // namespace
}  // namespace fedglm
