#include "base/cpu.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "base/file.h"
#include "base/thread_pool.h"

namespace fedglm {
namespace {

namespace fs = std::filesystem;

// A machine as the kernel would describe it.
class FakeTopology {
 public:
  // `siblings`: the processors of its core; `shared`: those of its last-level cache, at `level`.
  void Add(int processor, const std::string& siblings, const std::string& shared, int level = 3) {
    const fs::path cpu = folder() / ("cpu" + std::to_string(processor));
    Write(cpu / "topology" / "thread_siblings_list", siblings);
    Write(cpu / "cache" / "index0" / "level", "1");
    Write(cpu / "cache" / "index0" / "shared_cpu_list", siblings);
    Write(cpu / "cache" / "index1" / "level", std::to_string(level));
    Write(cpu / "cache" / "index1" / "shared_cpu_list", shared);
  }
  fs::path folder() const { return directory_.path(); }

 private:
  static void Write(const fs::path& path, const std::string& line) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << line << "\n";
  }
  TemporaryDirectory directory_ = *TemporaryDirectory::Make();
};

// Two sockets of two cores, two hyper-threads each, numbered as Linux does it: first one of each core.
FakeTopology TwoSockets() {
  FakeTopology machine;
  for (int core = 0; core < 4; ++core) {
    const std::string siblings = std::to_string(core) + "," + std::to_string(core + 4);
    for (const int processor : {core, core + 4}) machine.Add(processor, siblings, core < 2 ? "0-1,4-5" : "2-3,6-7");
  }
  return machine;
}

std::vector<std::vector<int>> Processors(const std::vector<Core>& cores) {
  std::vector<std::vector<int>> processors;
  for (const Core& core : cores) processors.push_back(core.processors);
  return processors;
}

using Lists = std::vector<std::vector<int>>;

TEST(Cpu, HyperThreadsAreOfOneCoreAndCoresOfOneCache) {
  const FakeTopology machine = TwoSockets();
  const std::vector<Core> cores = CoresOf({0, 1, 2, 3, 4, 5, 6, 7}, machine.folder());
  EXPECT_EQ(Processors(cores), (Lists{{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
  EXPECT_EQ(cores[0].cache, cores[1].cache);
  EXPECT_NE(cores[1].cache, cores[2].cache);
  EXPECT_EQ(cores[2].cache, cores[3].cache);
}

TEST(Cpu, OnlyWhatTheProcessMayUseCounts) {
  const FakeTopology machine = TwoSockets();
  EXPECT_EQ(Processors(CoresOf({1, 5, 6}, machine.folder())), (Lists{{1, 5}, {6}}));
  EXPECT_TRUE(CoresOf({}, machine.folder()).empty());
}

TEST(Cpu, WhereTheKernelSaysNothingEachProcessorIsACore) {
  const std::vector<Core> cores = CoresOf({0, 3}, "/nonexistent");
  EXPECT_EQ(Processors(cores), (Lists{{0}, {3}}));
  EXPECT_EQ(cores[0].cache, cores[1].cache);
}

TEST(Cpu, ThreadsArePlacedOnTheNearestCoresThatShareACache) {
  const FakeTopology machine = TwoSockets();
  const std::vector<Core> cores = CoresOf({0, 1, 2, 3, 4, 5, 6, 7}, machine.folder());
  EXPECT_EQ(Processors(PlaceThreads(cores, 2, 7)), (Lists{{3, 7}, {2, 6}}));
  EXPECT_EQ(Processors(PlaceThreads(cores, 3, 1)), (Lists{{1, 5}, {0, 4}, {2, 6}}));
  // More threads than cores: the hyper-threads of each.
  EXPECT_EQ(Processors(PlaceThreads(cores, 5, 0)), (Lists{{0, 4}, {1, 5}, {2, 6}, {3, 7}, {0, 4}}));
  // A processor that is none of them.
  EXPECT_EQ(Processors(PlaceThreads(cores, 1, 99)), (Lists{{0, 4}}));
  EXPECT_TRUE(PlaceThreads({}, 4, 0).empty());
}

TEST(Cpu, TheModelHasAName) {
  EXPECT_FALSE(CpuModelName().empty());
  EXPECT_EQ(CpuModelName("/nonexistent"), "unknown");
  const auto folder = *TemporaryDirectory::Make();
  const fs::path file = folder.path() / "cpuinfo";
  std::ofstream(file) << "processor\t: 0\nmodel\t\t: 7\nmodel name\t: X Nine 9000 8-Core\nprocessor\t: 1\n";
  EXPECT_EQ(CpuModelName(file), "X Nine 9000 8-Core");
  std::ofstream(file) << "processor\t: 0\nmodel name\t:\nCPU part\t: 0xd0c\n";
  EXPECT_EQ(CpuModelName(file), "0xd0c");
}

TEST(Cpu, AThreadStaysWhereItIsAllowed) {
  std::thread([] {
    const std::vector<int> allowed = AllowedProcessors();
    ASSERT_FALSE(allowed.empty());
    EXPECT_GE(static_cast<int>(allowed.size()), UsablePhysicalCores());
    EXPECT_GE(UsableProcessors(), UsablePhysicalCores());
    ASSERT_TRUE(AllowProcessors({allowed.back()}));
    EXPECT_EQ(AllowedProcessors(), std::vector<int>{allowed.back()});
    EXPECT_EQ(sched_getcpu(), allowed.back());
    EXPECT_FALSE(AllowProcessors({}));
    EXPECT_FALSE(AllowProcessors({1 << 15}));  // there is none of that number
    EXPECT_EQ(AllowedProcessors(), std::vector<int>{allowed.back()});
    EXPECT_TRUE(AllowProcessors(allowed));
  }).join();
}

TEST(ThreadPinning, HasNames) {
  EXPECT_EQ(ThreadPinningFromName("off"), ThreadPinning::kOff);
  EXPECT_EQ(ThreadPinningFromName("auto"), ThreadPinning::kAuto);
  EXPECT_EQ(ThreadPinningFromName("on"), ThreadPinning::kOn);
  EXPECT_EQ(ThreadPinningFromName("yes"), std::nullopt);
  EXPECT_EQ(ThreadPinningFromName(""), std::nullopt);
}

TEST(ThreadPinning, EachThreadOfAPinnedPoolStaysOnACoreOfItsOwn) {
  const size_t cores = CoresOf(AllowedProcessors()).size();
  if (cores < 2) GTEST_SKIP() << "one core";
  ThreadPool pool(static_cast<int>(cores), ThreadPinning::kOn);
  ASSERT_EQ(pool.cores().size(), cores);
  const std::vector<int> before = AllowedProcessors();
  {
    const ThreadPool::CallerOnItsCore on_its_core(pool);
    EXPECT_EQ(AllowedProcessors(), pool.cores().front().processors);
    // Every thread takes one range and waits for the others, so that all of them are seen.
    std::vector<std::vector<int>> allowed(cores);
    std::atomic<size_t> arrived{0};
    pool.ParallelFor(static_cast<int64_t>(cores), 1, [&](int64_t i, int64_t) {
      allowed[static_cast<size_t>(i)] = AllowedProcessors();
      ++arrived;
      while (arrived < cores) std::this_thread::yield();
    });
    const std::set<std::vector<int>> distinct(allowed.begin(), allowed.end());
    const Lists placed = Processors(pool.cores());
    EXPECT_EQ(distinct, std::set<std::vector<int>>(placed.begin(), placed.end()));
    EXPECT_EQ(distinct.size(), cores);
  }
  EXPECT_EQ(AllowedProcessors(), before);
}

TEST(ThreadPinning, APoolThatIsNotPinnedLeavesItsThreadsAlone) {
  const std::vector<int> before = AllowedProcessors();
  const int cores = static_cast<int>(CoresOf(before).size());
  // One thread has nobody to keep away from; of a part of the cores, other processes might choose the same.
  const std::pair<int, ThreadPinning> pools[] = {
      {cores, ThreadPinning::kOff}, {1, ThreadPinning::kOn}, {cores + 1, ThreadPinning::kAuto}};
  for (const auto& [threads, pinning] : pools) {
    ThreadPool pool(threads, pinning);
    EXPECT_TRUE(pool.cores().empty()) << threads;
    const ThreadPool::CallerOnItsCore on_its_core(pool);
    EXPECT_EQ(AllowedProcessors(), before);
  }
}

}  // namespace
}  // namespace fedglm
