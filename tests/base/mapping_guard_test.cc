#include "base/mapping_guard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <numeric>
#include <thread>
#include <vector>

#include "base/file.h"
#include "gtest/gtest.h"
#include "tests/base/forked_child.h"

namespace fedglm {
namespace {

constexpr size_t kPage = 4096, kPages = 64;

// Each test cuts a mapped file short in a child, which the signal would end.
class MappingGuardTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(WriteFileAtomically(path_, std::string(kPages * kPage, '\1')).ok()); }
  static int64_t Sum(const MappedFile& file) {
    int64_t sum = 0;
    for (const std::byte byte : file.bytes()) sum += static_cast<int64_t>(byte);
    return sum;
  }
  const TemporaryDirectory folder_ = *TemporaryDirectory::Make();
  const std::filesystem::path path_ = folder_.path() / "file";
};

TEST_F(MappingGuardTest, WhatIsGoneReadsAsZerosAndIsAnError) {
  EXPECT_CHILD_SUCCEEDS("", [&] {
    const auto file = MappedFile::Open(path_);
    if (!file.ok() || Sum(*file) != kPages * kPage || !file->CheckIntact().ok()) return 1;
    if (::truncate(path_.c_str(), 8 * kPage) != 0) return 2;
    if (!file->CheckIntact().ok()) return 3;  // nobody has missed anything yet
    if (Sum(*file) != 8 * kPage) return 4;
    const absl::Status status = file->CheckIntact();
    return ExitCodeOf(status) == ExitCode::kBadInputFile && Message(status).find(path_.string()) == 0 ? 0 : 5;
  });
}

// Backwards: each page that is missed is before those that are zeros already.
TEST_F(MappingGuardTest, AnyOrderOfReadingIsSurvived) {
  EXPECT_CHILD_SUCCEEDS("", [&] {
    const auto file = MappedFile::Open(path_);
    if (::truncate(path_.c_str(), 0) != 0) return 1;
    for (size_t i = kPages * kPage; i > 0; --i) {
      if (file->bytes()[i - 1] != std::byte{0}) return 2;
    }
    return file->CheckIntact().ok() ? 3 : 0;
  });
}

TEST_F(MappingGuardTest, OtherMappingsAndLaterOnesAreWhole) {
  const std::filesystem::path other_path = folder_.path() / "other";
  ASSERT_TRUE(WriteFileAtomically(other_path, std::string(kPages * kPage, '\1')).ok());
  EXPECT_CHILD_SUCCEEDS("", [&] {
    const auto other = MappedFile::Open(other_path);
    {
      auto file = MappedFile::Open(path_);
      const MappedFile moved = *std::move(file);  // the guard moves along
      if (::truncate(path_.c_str(), 0) != 0) return 1;
      if (Sum(moved) != 0 || moved.CheckIntact().ok()) return 2;
    }
    if (Sum(*other) != kPages * kPage || !other->CheckIntact().ok()) return 3;
    const auto later = MappedFile::Open(other_path);  // in the place of the first, and with its entry
    return Sum(*later) == kPages * kPage && later->CheckIntact().ok() ? 0 : 4;
  });
}

TEST_F(MappingGuardTest, ThreadsThatReadMeanwhileAllEnd) {
  EXPECT_CHILD_SUCCEEDS("", [&] {
    const auto file = MappedFile::Open(path_);
    std::atomic<bool> cut = false;
    std::atomic<int> noticed = 0;
    std::atomic<int64_t> total = 0;  // so that the reading is not left out
    std::vector<std::thread> readers;
    for (int i = 0; i < 4; ++i) {
      readers.emplace_back([&] {
        while (!cut.load()) total += Sum(*file);
        total += Sum(*file);
        if (!file->CheckIntact().ok()) ++noticed;
      });
    }
    const int truncated = ::truncate(path_.c_str(), kPage);
    cut = true;
    for (std::thread& reader : readers) reader.join();
    return truncated == 0 && noticed == 4 && total > 0 ? 0 : 1;
  });
}

// Only watched mappings are mended: a bus error anywhere else is the end it always was.
TEST_F(MappingGuardTest, ABusErrorElsewhereStillEndsTheProcess) {
  const int outcome = RunInChild([&] {
    const auto watched = MappedFile::Open(path_);
    const std::filesystem::path other = folder_.path() / "other";
    if (!WriteFileAtomically(other, std::string(kPage, '\1')).ok()) return 0;
    const int fd = ::open(other.c_str(), O_RDONLY);
    const void* const data = ::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED || ::truncate(other.c_str(), 0) != 0) return 0;
    ::close(STDERR_FILENO);  // a sanitizer would report it
    return static_cast<int>(*static_cast<const volatile char*>(data));
  });
  EXPECT_NE(outcome, 0);
}

TEST_F(MappingGuardTest, ABusErrorThatSomebodySentEndsTheProcess) {
  const int outcome = RunInChild([&] {
    const auto watched = MappedFile::Open(path_);
    ::close(STDERR_FILENO);
    ::raise(SIGBUS);
    return 0;
  });
  EXPECT_NE(outcome, 0);
}

}  // namespace
}  // namespace fedglm
