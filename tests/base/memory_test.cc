#include "base/memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/cgroup.h"
#include "base/file.h"
#include "tests/base/forked_child.h"

namespace fedglm {
namespace {

namespace fs = std::filesystem;

TEST(Memory, RssGrowsWithWhatIsTouched) {
  constexpr size_t kBytes = 64 << 20;
  const uint64_t before = CurrentRssBytes();
  ASSERT_GT(before, 0u);
  const std::vector<char> block(kBytes, 1);
  EXPECT_GE(CurrentRssBytes(), before + kBytes / 2) << static_cast<int>(block[kBytes / 2]);
  EXPECT_GE(PeakRssBytes(), before + kBytes / 2);
}

TEST(Memory, WhatIsAvailableIsPartOfTheTotal) {
  EXPECT_GT(TotalMemoryBytes(), uint64_t{64} << 20);
  EXPECT_GT(AvailableMemoryBytes(), 0u);
  EXPECT_LE(AvailableMemoryBytes(), TotalMemoryBytes());
}

TEST(Memory, WithoutProcTheKernelIsAsked) {
  EXPECT_CHILD_SUCCEEDS("no mounts of its own for this user", [] {
    if (!EnterMountNamespace() || mount("tmpfs", "/proc", "tmpfs", 0, "size=64k") != 0) return kNotHere;
    if (TotalMemoryBytes() < uint64_t{64} << 20) return 1;
    return AvailableMemoryBytes() > 0 && AvailableMemoryBytes() <= TotalMemoryBytes() ? 0 : 2;
  });
}

// A mapped file of which no page is in memory.
class MappedPages : public testing::Test {
 protected:
  static constexpr size_t kBytes = 8 << 20;

  void SetUp() override {
    absl::StatusOr<TemporaryDirectory> folder = TemporaryDirectory::Make();
    ASSERT_TRUE(folder.ok());
    folder_.emplace(*std::move(folder));
    const fs::path path = folder_->path() / "file";
    std::ofstream(path) << std::string(kBytes, 'x');
    absl::StatusOr<MappedFile> file = MappedFile::Open(path);
    ASSERT_TRUE(file.ok());
    file_ = *std::move(file);
    const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(descriptor, 0);
    fsync(descriptor);
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    close(descriptor);
    if (Present() != 0) GTEST_SKIP() << "the temporary folder's file system keeps its files in memory";
  }

  std::span<const std::byte> bytes() const { return file_.bytes(); }
  // Whether the mapping's middle has a flag of /proc's "VmFlags".
  bool HasFlag(const std::string& flag) const {
    const auto middle = reinterpret_cast<uintptr_t>(bytes().data() + kBytes / 2);
    std::ifstream maps("/proc/self/smaps");
    bool within = false;
    for (std::string line; std::getline(maps, line);) {
      uintptr_t begin = 0, end = 0;
      if (std::sscanf(line.c_str(), "%zx-%zx ", &begin, &end) == 2) within = begin <= middle && middle < end;
      if (within && line.starts_with("VmFlags:")) return (line + " ").find(" " + flag + " ") != std::string::npos;
    }
    return false;
  }
  bool KernelWaits() const {
#ifdef MADV_POPULATE_READ
    return madvise(const_cast<std::byte*>(bytes().data()), 1, MADV_POPULATE_READ) == 0;
#else
    return false;
#endif
  }
  // Bytes of the file that are in memory.
  size_t Present() const {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    std::vector<unsigned char> present(kBytes / page);
    // Not const for mincore, which only looks.
    EXPECT_EQ(mincore(const_cast<std::byte*>(bytes().data()), kBytes, present.data()), 0);
    return page * static_cast<size_t>(std::ranges::count_if(present, [](unsigned char p) { return (p & 1) != 0; }));
  }

 private:
  std::optional<TemporaryDirectory> folder_;
  MappedFile file_;
};

TEST_F(MappedPages, AreInMemoryOnceTouched) {
  if (!KernelWaits()) GTEST_SKIP() << "before Linux 5.14: pages come later";
  ASSERT_TRUE(TouchPages(bytes()).ok());
  EXPECT_EQ(Present(), kBytes);
}

TEST_F(MappedPages, AreInMemoryOnceTouchedAsHugeOnes) {
  if (!KernelWaits()) GTEST_SKIP() << "before Linux 5.14: pages come later";
  AdviseHugePages(bytes());
  ASSERT_TRUE(TouchPages(bytes()).ok());
  EXPECT_EQ(Present(), kBytes);
}

TEST_F(MappedPages, MayBeHugeUntilAccessIsRandom) {
  size_t huge_page = 0;
  std::ifstream("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size") >> huge_page;
  if (huge_page == 0 || huge_page > kBytes / 4) GTEST_SKIP() << "this kernel has no huge pages, or only larger ones";
  AdviseHugePages(bytes());
  EXPECT_TRUE(HasFlag("hg"));
  AdviseRandomAccess(bytes());
  EXPECT_FALSE(HasFlag("hg"));
  EXPECT_TRUE(HasFlag("nh"));
}

TEST_F(MappedPages, ComeAloneWhereAccessIsRandom) {
  AdviseHugePages(bytes());
  AdviseRandomAccess(bytes());
  EXPECT_EQ(bytes()[kBytes / 2], std::byte{'x'});
  EXPECT_LE(Present(), size_t{1} << 20);  // a large page, or what a compressing file system unpacks at once
}

// Control groups as other machines have them: a made-up tree over /sys/fs/cgroup and /proc/self/cgroup, in a child with
// mounts of its own.
class Cgroups : public testing::Test {
 protected:
  // Runs `body` where this process is in `groups` and the files below /sys/fs/cgroup are `files`.
  struct FakeFile {
    const char* path;
    const char* text;
  };
  static int In(const char* groups, const std::vector<FakeFile>& files, const std::function<int()>& body) {
    const auto folder = TemporaryDirectory::Make();
    const fs::path fake = folder->path() / "cgroup";
    std::ofstream(fake) << groups;
    return RunInChild([&] {
      if (!fs::exists("/sys/fs/cgroup") || !EnterMountNamespace() ||
          mount(fake.c_str(), "/proc/self/cgroup", nullptr, MS_BIND, nullptr) != 0 ||
          mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, nullptr) != 0) {
        return kNotHere;
      }
      for (const FakeFile& file : files) {
        const fs::path path = fs::path("/sys/fs/cgroup") / file.path;
        fs::create_directories(path.parent_path());
        std::ofstream(path) << file.text;
      }
      return body();
    });
  }
};

#define EXPECT_HERE(child)                                                              \
  do {                                                                                  \
    const int fedglm_child = (child);                                                   \
    if (fedglm_child == kNotHere) GTEST_SKIP() << "no mounts of its own for this user"; \
    EXPECT_EQ(fedglm_child, 0);                                                         \
  } while (false)

TEST_F(Cgroups, Version2TakesTheLowestLimitOnTheWayToTheRoot) {
  EXPECT_HERE(In("0::/pod/container\n",
                 {{"pod/container/memory.max", "max\n"},
                  {"pod/container/cpu.max", "300000 100000\n"},
                  {"pod/memory.max", "104857600\n"},
                  {"pod/memory.current", "20000000\n"},
                  {"pod/memory.stat", "anon 5\nfile 9000000\ninactive_file 3000000\nactive_file 2000000\n"},
                  {"pod/cpu.max", "150000 100000\n"}},
                 [] {
                   if (CgroupMemoryLimit() != 104857600) return 1;
                   if (CgroupMemoryUsed() != 15000000) return 2;  // file pages can be dropped
                   if (TotalMemoryBytes() != 104857600) return 3;
                   if (AvailableMemoryBytes() != 104857600 - 15000000) return 4;
                   return CgroupCpuQuota() == 1.5 ? 0 : 5;
                 }));
}

TEST_F(Cgroups, Version2WithItsOwnNamespaceIsAtTheRoot) {
  EXPECT_HERE(
      In("0::/\n", {{"memory.max", "67108864\n"}, {"memory.current", "100\n"}, {"cpu.max", "50000 100000\n"}}, [] {
        if (CgroupMemoryLimit() != 67108864 || CgroupMemoryUsed() != 100) return 1;
        return CgroupCpuQuota() == 0.5 ? 0 : 2;
      }));
}

TEST_F(Cgroups, Version1IsReadPerController) {
  EXPECT_HERE(
      In("12:cpu,cpuacct:/docker/a\n5:memory:/docker/a\n0::/elsewhere\n",
         {{"memory/docker/a/memory.limit_in_bytes", "50000000\n"},
          {"memory/docker/a/memory.usage_in_bytes", "8000000\n"},
          {"memory/docker/a/memory.stat", "inactive_file 1\ntotal_inactive_file 1000000\ntotal_active_file 500000\n"},
          {"memory/memory.limit_in_bytes", "9223372036854771712\n"},
          {"cpu/docker/a/cpu.cfs_quota_us", "200000\n"},
          {"cpu/docker/a/cpu.cfs_period_us", "100000\n"}},
         [] {
           if (CgroupMemoryLimit() != 50000000) return 1;
           if (CgroupMemoryUsed() != 6500000) return 2;
           return CgroupCpuQuota() == 2.0 ? 0 : 3;
         }));
}

// A container that sees its host's paths, but only its own part of the tree.
TEST_F(Cgroups, AGroupThatIsNotMountedHereIsLookedForAbove) {
  EXPECT_HERE(In("4:memory:/docker/abc\n",
                 {{"memory/memory.limit_in_bytes", "50000000\n"}, {"memory/memory.usage_in_bytes", "7\n"}},
                 [] { return CgroupMemoryLimit() == 50000000 && CgroupMemoryUsed() == 7 ? 0 : 1; }));
}

TEST_F(Cgroups, NoLimitIsZero) {
  EXPECT_HERE(In("0::/a\n", {{"a/memory.max", "max\n"}, {"a/cpu.max", "max 100000\n"}},
                 [] { return CgroupMemoryLimit() == 0 && CgroupMemoryUsed() == 0 && CgroupCpuQuota() == 0 ? 0 : 1; }));
  EXPECT_HERE(In("2:cpu:/a\n1:memory:/a\n",
                 {{"memory/a/memory.limit_in_bytes", "9223372036854771712\n"},
                  {"cpu/a/cpu.cfs_quota_us", "-1\n"},
                  {"cpu/a/cpu.cfs_period_us", "100000\n"}},
                 [] { return CgroupMemoryLimit() == 0 && CgroupCpuQuota() == 0 ? 0 : 1; }));
  EXPECT_HERE(In("", {}, [] { return CgroupMemoryLimit() == 0 && CgroupCpuQuota() == 0 ? 0 : 1; }));
}

}  // namespace
}  // namespace fedglm
