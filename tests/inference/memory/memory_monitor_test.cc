#include "inference/memory/memory_monitor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"

namespace fedglm {
namespace {

using std::chrono::seconds;
using std::chrono::system_clock;

constexpr uint64_t kMebibyte = uint64_t{1} << 20;

MemorySample Left(double part) {
  MemorySample sample;
  sample.machine_total = 1000 * kMebibyte;
  sample.machine_available = 900 * kMebibyte;
  sample.group_limit = 1000 * kMebibyte;
  sample.group_used = static_cast<uint64_t>((1 - part) * 1000) * kMebibyte;
  return sample;
}

TEST(MemoryPressure, RisesWithWhatIsMissing) {
  EXPECT_EQ(PressureOf({}), 0);
  EXPECT_EQ(PressureOf(Left(0.0625)), 0);  // what a plan leaves of a group's limit is no pressure
  EXPECT_EQ(PressureOf(Left(0.045)), 1);
  EXPECT_EQ(PressureOf(Left(0.03)), 2);
  EXPECT_EQ(PressureOf(Left(0.02)), 3);
  EXPECT_EQ(PressureOf(Left(0.01)), 4);
  EXPECT_EQ(PressureOf(Left(-0.5)), 4);  // above its limit, as a group may be for a moment
  MemorySample machine;
  machine.machine_total = 1000, machine.machine_available = 20;
  EXPECT_EQ(PressureOf(machine), 3);
}

TEST(MemoryPressure, StallsOfTheMachineCountOnlyWhenItIsShort) {
  MemorySample sample = Left(0.5);
  sample.machine_stall = 70;
  EXPECT_EQ(PressureOf(sample), 0);
  sample.machine_available = 150 * kMebibyte;
  EXPECT_EQ(PressureOf(sample), 4);
  sample = Left(0.5);
  for (const auto& [stall, level] : std::vector<std::pair<double, int>>{{4, 0}, {10, 1}, {20, 2}, {40, 3}, {61, 4}}) {
    sample.group_stall = stall;
    EXPECT_EQ(PressureOf(sample), level) << stall;
  }
}

TEST(PressureLadder, GoesUpAtOnceAndDownStepByStep) {
  PressureLadder ladder;
  system_clock::time_point now = system_clock::from_time_t(1000);
  EXPECT_EQ(ladder.Update(Left(0.5), now), 0);
  EXPECT_EQ(ladder.Update(Left(0.02), now += seconds(1)), 3);
  std::vector<int> levels;
  for (int second = 0; second < 35; ++second) levels.push_back(ladder.Update(Left(0.5), now += seconds(1)));
  for (int second = 0; second < 35; ++second) {
    const int expected = second < 9 ? 3 : second < 19 ? 2 : second < 29 ? 1 : 0;
    EXPECT_EQ(levels[static_cast<size_t>(second)], expected) << second;
  }
}

TEST(PressureLadder, PressureThatComesBackStartsTheCalmAnew) {
  PressureLadder ladder;
  system_clock::time_point now = system_clock::from_time_t(1000);
  ladder.Update(Left(0.03), now);
  for (int i = 0; i < 10; ++i) {  // every 9 seconds again
    for (int second = 0; second < 8; ++second) EXPECT_EQ(ladder.Update(Left(0.5), now += seconds(1)), 2);
    EXPECT_EQ(ladder.Update(Left(0.03), now += seconds(1)), 2);
  }
  // Less pressure than the level's lets it fall all the same, and holds where it is met.
  for (int second = 0; second < 60; ++second) ladder.Update(Left(0.045), now += seconds(1));
  EXPECT_EQ(ladder.level(), 1);
}

// A machine made of files.
class FakeKernel {
 public:
  void Write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = folder_.path() / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void Memory(uint64_t total_mib, uint64_t available_mib) {
    Write("proc/meminfo", "MemTotal:  " + std::to_string(total_mib * 1024) +
                              " kB\nMemFree:  1 kB\nMemAvailable:  " + std::to_string(available_mib * 1024) + " kB\n");
  }
  static std::string Stall(double percent) {
    return "some avg10=" + std::to_string(percent) + " avg60=0.00 avg300=0.00 total=5\nfull avg10=99.00 avg60=0.00 " +
           "avg300=0.00 total=5\n";
  }
  KernelFolders folders() const { return {(folder_.path() / "proc").string(), (folder_.path() / "cgroup").string()}; }

 private:
  const TemporaryDirectory folder_ = *TemporaryDirectory::Make();
};

TEST(MemorySample, TakesTheGroupWithTheLeastLeftOfVersion2) {
  FakeKernel kernel;
  kernel.Memory(8000, 6000);
  kernel.Write("proc/self/status", "Name:\tx\nVmRSS:\t    2048 kB\n");
  kernel.Write("proc/self/cgroup", "0::/pod/container\n");
  kernel.Write("proc/pressure/memory", FakeKernel::Stall(3.5));
  kernel.Write("cgroup/pod/container/memory.max", "104857600\n");
  kernel.Write("cgroup/pod/container/memory.current", "10485760\n");
  kernel.Write("cgroup/pod/container/memory.pressure", FakeKernel::Stall(12.25));
  kernel.Write("cgroup/pod/memory.max", "209715200\n");  // wider, but siblings have nearly filled it
  kernel.Write("cgroup/pod/memory.current", "199229440\n");
  kernel.Write("cgroup/pod/memory.stat", "anon 5\ninactive_file 1048576\nactive_file 1048576\n");
  const MemorySample sample = ReadMemorySample(kernel.folders());
  EXPECT_EQ(sample.rss, 2 * kMebibyte);
  EXPECT_EQ(sample.machine_total, 8000 * kMebibyte);
  EXPECT_EQ(sample.machine_available, 6000 * kMebibyte);
  EXPECT_EQ(sample.group_limit, 209715200u);
  EXPECT_EQ(sample.group_used, 199229440u - 2 * kMebibyte);
  EXPECT_DOUBLE_EQ(sample.machine_stall, 3.5);
  EXPECT_DOUBLE_EQ(sample.group_stall, 12.25);
}

TEST(MemorySample, ReadsVersion1AndKernelsWithoutPressure) {
  FakeKernel kernel;
  kernel.Memory(4000, 1000);
  kernel.Write("proc/self/cgroup", "5:memory:/docker/a\n0::/elsewhere\n");
  kernel.Write("cgroup/memory/docker/a/memory.limit_in_bytes", "50000000\n");
  kernel.Write("cgroup/memory/docker/a/memory.usage_in_bytes", "49000000\n");
  kernel.Write("cgroup/memory/docker/a/memory.stat", "total_inactive_file 1000000\ntotal_active_file 0\n");
  const MemorySample sample = ReadMemorySample(kernel.folders());
  EXPECT_EQ(sample.group_limit, 50000000u);
  EXPECT_EQ(sample.group_used, 48000000u);
  EXPECT_EQ(sample.machine_stall, 0);
  EXPECT_EQ(sample.group_stall, 0);
}

TEST(MemoryMonitor, PlaysTheLadderOnARecordedHour) {
  FakeKernel kernel;
  kernel.Write("proc/self/cgroup", "0::/\n");
  ManualClock clock(system_clock::from_time_t(5000));
  std::vector<int> levels, pressures;
  MemoryMonitor monitor({kernel.folders(), &clock}, [&](int level, int pressure) {
    levels.push_back(level);
    pressures.push_back(pressure);
  });
  // {available of 4000 MiB, for so many seconds}: another program takes memory, gives some back, ends.
  const std::vector<std::pair<uint64_t, int>> recorded = {{2000, 5}, {190, 3},  {130, 2},
                                                          {50, 1},   {120, 12}, {2500, 40}};
  for (const auto& [available, count] : recorded) {
    for (int i = 0; i < count; ++i) {
      kernel.Memory(4000, available);
      monitor.Sample();
      clock.Advance(seconds(1));
    }
  }
  std::vector<int> steps;
  for (const int level : levels) {
    if (steps.empty() || steps.back() != level) steps.push_back(level);
  }
  EXPECT_EQ(steps, (std::vector<int>{0, 1, 2, 4, 3, 2, 1, 0}));
  ASSERT_EQ(levels.size(), 63u);
  for (size_t i = 0; i < levels.size(); ++i) EXPECT_LE(pressures[i], levels[i]);
  EXPECT_EQ(pressures[11], 2);  // at once, while the level is still 4
  EXPECT_EQ(levels[11], 4);
  const MonitorStatistics statistics = monitor.Statistics();
  EXPECT_EQ(statistics.level, 0);
  EXPECT_EQ(statistics.entered, (std::array<uint64_t, 5>{1, 2, 2, 1, 1}));
  EXPECT_EQ(statistics.last.machine_available, 2500 * kMebibyte);
}

TEST(MemoryMonitor, SamplesFromItsThreadUntilItIsDestroyed) {
  std::atomic<int> samples = 0;
  {
    MonitorOptions options;
    options.interval = std::chrono::milliseconds(1);
    MemoryMonitor monitor(options, [&](int, int) { ++samples; });
    monitor.Start();
    while (samples < 3) std::this_thread::yield();
    EXPECT_GT(monitor.Statistics().last.rss, 0u);
  }
  const int after = samples;
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(samples, after);
}

}  // namespace
}  // namespace fedglm
