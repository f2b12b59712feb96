#include "inference/api/connection_threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>

#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using std::chrono::milliseconds;

TEST(ConnectionThreads, AsManyAsThereAreConnectionsUpToTheLimitAndTheOthersWait) {
  ConnectionThreads threads(3);
  std::latch go(1);
  std::atomic<int> begun = 0, done = 0;
  for (int i = 0; i < 5; ++i) {
    threads.enqueue([&] {
      ++begun;
      go.wait();
      ++done;
    });
  }
  EXPECT_TRUE(WaitUntil([&] { return begun == 3; }));
  EXPECT_EQ(threads.threads(), 3u);
  go.count_down();
  threads.shutdown();  // what waits is served first
  EXPECT_EQ(done, 5);
}

TEST(ConnectionThreads, AThreadThatWasIdleEndsAndTheNextConnectionGetsAnother) {
  ConnectionThreads threads(4, milliseconds(20));
  for (int round = 0; round < 3; ++round) {
    std::atomic<int> done = 0;
    for (int i = 0; i < 4; ++i) threads.enqueue([&] { ++done; });
    EXPECT_TRUE(WaitUntil([&] { return done == 4 && threads.threads() == 0; })) << threads.threads() << " are left";
  }
  threads.shutdown();
}

}  // namespace
}  // namespace fedglm
