#include "base/file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include "base/digest.h"
#include "tests/base/forked_child.h"

namespace fedglm {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  fs::path Path(const std::string& name) const { return folder_.path() / name; }
  size_t Entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }

  TemporaryDirectory folder_ = *TemporaryDirectory::Make("fedglm-file-test");
};

TEST_F(FileTest, WritesReplacesAndReads) {
  const std::string binary("\0\xff\n", 3);
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "old", 0600).ok());
  struct stat facts;
  ASSERT_EQ(stat(Path("a").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
  ASSERT_TRUE(WriteFileAtomically(Path("a"), binary, 0640).ok());
  EXPECT_EQ(*ReadFile(Path("a")), binary);
  ASSERT_EQ(stat(Path("a").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0640u);
  EXPECT_EQ(Entries(), 1u) << "a temporary file was left behind";
}

TEST_F(FileTest, ANewFileIsWrittenOverNothing) {
  ASSERT_TRUE(WriteNewFile(Path("below/a"), "x").ok());
  EXPECT_EQ(*ReadFile(Path("below/a")), "x");
  const absl::Status status = WriteNewFile(Path("below/a"), "y");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kFailed);
  EXPECT_NE(Message(status).find("below/a: is there already"), std::string::npos) << Message(status);
  EXPECT_EQ(*ReadFile(Path("below/a")), "x");
}

TEST_F(FileTest, WritingIntoAMissingFolderFailsAndNamesThePath) {
  const absl::Status status = WriteFileAtomically(Path("missing/a"), "x");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kFailed);  // no input is bad
  EXPECT_NE(Message(status).find("missing/a"), std::string::npos) << Message(status);
}

TEST_F(FileTest, WritingOverAFolderFailsAndLeavesIt) {
  ASSERT_TRUE(MakeDirectories(Path("folder/below")).ok());
  EXPECT_FALSE(WriteFileAtomically(Path("folder"), "x").ok());
  EXPECT_TRUE(fs::is_directory(Path("folder/below")));
  EXPECT_EQ(Entries(), 1u);
}

// The write stops half-way: the limit on the size of files stands in for the disk where no mount is allowed.
TEST_F(FileTest, AWriteThatStopsHalfwayLeavesTheOldContent) {
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "old").ok());
  const auto body = [&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {64 << 10, 64 << 10};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    const absl::Status status = WriteFileAtomically(Path("a"), std::string(1 << 20, 'n'));
    return ExitCodeOf(status) == ExitCode::kFailed && Message(status).find(Path("a").string()) == 0 ? 0 : 2;
  };
  EXPECT_EQ(RunInChild(body), 0);
  EXPECT_EQ(*ReadFile(Path("a")), "old");
  EXPECT_EQ(Entries(), 1u) << "the part was left behind";
}

TEST_F(FileTest, AFullDiskLeavesTheOldContent) {
  const fs::path disk = folder_.path();
  EXPECT_CHILD_SUCCEEDS("no mounts of its own for this user", [&] {
    if (!EnterMountNamespace() || mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=256k") != 0) return kNotHere;
    if (!WriteFileAtomically(disk / "a", "old").ok()) return 1;
    const absl::Status status = WriteFileAtomically(disk / "a", std::string(1 << 20, 'n'));
    if (ExitCodeOf(status) != ExitCode::kFailed) return 2;
    if (Message(status).find("No space left on device") == std::string::npos) return 3;
    if (*ReadFile(disk / "a") != "old") return 4;
    if (Entries() != 1) return 5;
    // The part is gone, so there is room again.
    return WriteFileAtomically(disk / "a", std::string(100 << 10, 'n')).ok() ? 0 : 6;
  });
}

TEST_F(FileTest, AReaderSeesTheOldContentOrTheNewNeverAMixture) {
  constexpr size_t kSize = 200000;
  ASSERT_TRUE(WriteFileAtomically(Path("a"), std::string(kSize, 'a')).ok());
  std::atomic<bool> stop{false};
  std::atomic<int> reads{0}, bad{0};
  std::thread reader([&] {
    while (!stop) {
      const absl::StatusOr<std::string> text = ReadFile(Path("a"));
      const bool whole = text.ok() && text->size() == kSize &&
                         std::all_of(text->begin(), text->end(), [&](char c) { return c == text->front(); });
      if (!whole) ++bad;
      ++reads;
    }
  });
  for (int i = 0; i < 40; ++i) {
    EXPECT_TRUE(WriteFileAtomically(Path("a"), std::string(kSize, i % 2 == 0 ? 'b' : 'a')).ok());
  }
  while (reads == 0) std::this_thread::yield();
  stop = true;
  reader.join();
  EXPECT_EQ(bad, 0);
}

TEST_F(FileTest, WhatIsNoReadableFileIsRefused) {
  EXPECT_EQ(ReadFile(Path("missing")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadFile(folder_.path()).status().code(), absl::StatusCode::kDataLoss);
  // Nobody writes to this pipe: waiting for it would be for ever.
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(ReadFile(Path("pipe")).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(MappedFile::Open(Path("pipe")).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(FileTest, ReadingIsBounded) {
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "12345").ok());
  EXPECT_EQ(*ReadFile(Path("a"), 5), "12345");
  const absl::Status status = ReadFile(Path("a"), 4).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(Message(status).find(Path("a").string()), std::string::npos);
  ASSERT_TRUE(WriteFileAtomically(Path("empty"), "").ok());
  EXPECT_EQ(*ReadFile(Path("empty"), 0), "");
}

TEST_F(FileTest, AFileThatDoesNotSayItsSizeIsReadToItsEndAndBounded) {
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/status");
  ASSERT_TRUE(text.ok());
  EXPECT_NE(text->find("VmRSS:"), std::string::npos);
  EXPECT_EQ(ReadFile("/proc/self/status", 16).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(FileTest, MakesFoldersWithAllAbove) {
  ASSERT_TRUE(MakeDirectories(Path("a/b/c"), 0700).ok());
  struct stat facts;
  ASSERT_EQ(stat(Path("a/b").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0700u);
  EXPECT_TRUE(MakeDirectories(Path("a/b/c/")).ok()) << "it is there already";
  ASSERT_TRUE(WriteFileAtomically(Path("file"), "x").ok());
  EXPECT_EQ(ExitCodeOf(MakeDirectories(Path("file"))), ExitCode::kFailed);
  EXPECT_EQ(ExitCodeOf(MakeDirectories(Path("file/below"))), ExitCode::kFailed);
}

TEST_F(FileTest, ReplacesAFolderByAnother) {
  for (const char* name : {"first", "second"}) {
    ASSERT_TRUE(MakeDirectories(Path(name)).ok());
    ASSERT_TRUE(WriteFileAtomically(Path(name) / name, name).ok());
  }
  ASSERT_TRUE(ReplaceDirectory(Path("first"), Path("to")).ok());
  EXPECT_EQ(*ReadFile(Path("to/first")), "first");
  ASSERT_TRUE(ReplaceDirectory(Path("second"), Path("to")).ok());
  EXPECT_EQ(*ReadFile(Path("to/second")), "second");
  EXPECT_FALSE(fs::exists(Path("to/first")));
  EXPECT_EQ(Entries(), 1u) << "the old folder was left behind";
}

TEST_F(FileTest, WhatIsNotAFolderIsNotReplacedByOne) {
  ASSERT_TRUE(MakeDirectories(Path("from")).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("to"), "precious").ok());
  EXPECT_EQ(ExitCodeOf(ReplaceDirectory(Path("from"), Path("to"))), ExitCode::kFailed);
  EXPECT_EQ(*ReadFile(Path("to")), "precious");
  EXPECT_TRUE(fs::is_directory(Path("from")));
}

TEST_F(FileTest, AMissingFolderReplacesNothing) {
  ASSERT_TRUE(MakeDirectories(Path("to")).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("to/a"), "old").ok());
  EXPECT_EQ(ExitCodeOf(ReplaceDirectory(Path("missing"), Path("to"))), ExitCode::kFailed);
  EXPECT_EQ(*ReadFile(Path("to/a")), "old");
}

TEST_F(FileTest, MapsAFileThatMayBeReplacedMeanwhile) {
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "mapped").ok());
  absl::StatusOr<MappedFile> file = MappedFile::Open(Path("a"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "replaced").ok());
  EXPECT_EQ(AsText(file->bytes()), "mapped");
  EXPECT_EQ(file->path(), Path("a"));

  MappedFile moved = *std::move(file);
  EXPECT_EQ(AsText(moved.bytes()), "mapped");
  moved = *MappedFile::Open(Path("a"));
  EXPECT_EQ(AsText(moved.bytes()), "replaced");
}

TEST_F(FileTest, MapsAnEmptyFileAndRefusesWhatIsNone) {
  ASSERT_TRUE(WriteFileAtomically(Path("empty"), "").ok());
  const absl::StatusOr<MappedFile> empty = MappedFile::Open(Path("empty"));
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE(empty->bytes().empty());
  EXPECT_EQ(MappedFile::Open(Path("missing")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(MappedFile::Open(folder_.path()).status().code(), absl::StatusCode::kDataLoss);
}

TEST(TemporaryDirectory, IsRemovedWithItsContent) {
  fs::path path;
  {
    absl::StatusOr<TemporaryDirectory> folder = TemporaryDirectory::Make("fedglm-file-test");
    ASSERT_TRUE(folder.ok());
    const TemporaryDirectory moved = *std::move(folder);
    path = moved.path();
    ASSERT_TRUE(MakeDirectories(path / "a/b").ok());
    std::ofstream(path / "a/b/file") << "x";
    EXPECT_TRUE(fs::exists(path / "a/b/file"));
  }
  EXPECT_FALSE(fs::exists(path));
}

}  // namespace
}  // namespace fedglm
