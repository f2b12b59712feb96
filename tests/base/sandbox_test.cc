#include "base/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.h"
#include "tests/base/forked_child.h"

namespace fedglm {
namespace {

template <typename Call>
bool FailsWith(int error_number, const Call& call) {
  errno = 0;
  return call() < 0 && errno == error_number;
}

bool CanOpen(const std::filesystem::path& path, int flags) {
  const int file = open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
  return file >= 0;
}

sockaddr_in Loopback() {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(9);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool HasLandlock() { return syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1; }

TEST(ForbidSockets, NoSocketCanBeMadeOfAnyKind) {
  EXPECT_EQ(RunInChild([] {
              if (!ForbidSockets().ok()) return 1;
              for (const int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK}) {
                if (!FailsWith(EPERM, [&] { return socket(family, SOCK_DGRAM, 0); })) return 2;
              }
              int pair[2];
              if (!FailsWith(EPERM, [&] { return socketpair(AF_UNIX, SOCK_STREAM, 0, pair); })) return 3;
              // io_uring is a second way to every system call.
              char parameters[256] = {};
              if (!FailsWith(EPERM, [&] { return syscall(SYS_io_uring_setup, 4, parameters); })) return 4;
              return 0;
            }),
            0);
}

TEST(ForbidSockets, ASocketThatIsOpenAlreadyReachesNobodyNew) {
  EXPECT_EQ(RunInChild([] {
              const int datagrams = socket(AF_INET, SOCK_DGRAM, 0), stream = socket(AF_INET, SOCK_STREAM, 0);
              if (datagrams < 0 || stream < 0 || !ForbidSockets().ok()) return 1;
              const sockaddr_in address = Loopback();
              const auto* to = reinterpret_cast<const sockaddr*>(&address);
              if (!FailsWith(EPERM, [&] { return connect(stream, to, sizeof(address)); })) return 2;
              if (!FailsWith(EPERM, [&] { return bind(stream, to, sizeof(address)); })) return 3;
              if (!FailsWith(EPERM, [&] { return listen(stream, 1); })) return 4;
              if (!FailsWith(EPERM, [&] { return accept(stream, nullptr, nullptr); })) return 5;
              if (!FailsWith(EPERM, [&] { return sendto(datagrams, "x", 1, 0, to, sizeof(address)); })) return 6;
              return 0;
            }),
            0);
}

TEST(ForbidSockets, PipesAndFilesGoOnWorking) {
  const auto folder = TemporaryDirectory::Make();
  EXPECT_EQ(RunInChild([&] {
              int ends[2];
              if (pipe(ends) != 0 || !ForbidSockets().ok()) return 1;
              char text[4] = {};
              if (write(ends[1], "abc", 3) != 3 || read(ends[0], text, 3) != 3 || std::string(text) != "abc") return 2;
              if (!WriteFileAtomically(folder->path() / "adapter", "weights").ok()) return 3;
              return *ReadFile(folder->path() / "adapter") == "weights" ? 0 : 4;
            }),
            0);
}

TEST(ForbidSockets, ChildrenInheritIt) {
  EXPECT_EQ(RunInChild([] {
              if (!ForbidSockets().ok()) return 1;
              const auto making = [] { return socket(AF_INET, SOCK_STREAM, 0); };
              return RunInChild([&] { return FailsWith(EPERM, making) ? 0 : 2; });
            }),
            0);
}

TEST(EnterEmptyNetworkNamespace, NotEvenLoopbackAnswers) {
  EXPECT_CHILD_SUCCEEDS("no network namespace of its own for this user", [] {
    if (!EnterEmptyNetworkNamespace().ok()) return kNotHere;
    const int stream = socket(AF_INET, SOCK_STREAM, 0);
    if (stream < 0) return 1;
    sockaddr_in address = Loopback();
    const auto* to = reinterpret_cast<const sockaddr*>(&address);
    const auto connecting = [&] { return connect(stream, to, sizeof(address)); };
    if (!FailsWith(ENETUNREACH, connecting)) return 2;
    address.sin_addr.s_addr = htonl(0xc0000201);  // 192.0.2.1
    return FailsWith(ENETUNREACH, connecting) ? 0 : 3;
  });
}

class RestrictFilesystemTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasLandlock()) GTEST_SKIP() << "this kernel has no Landlock";
    for (const char* name : {"records", "output", "private"}) {
      ASSERT_TRUE(MakeDirectories(folder_.path() / name).ok());
      ASSERT_TRUE(WriteFileAtomically(folder_.path() / name / "file", name).ok());
    }
  }
  std::filesystem::path Path(const std::string& name) const { return folder_.path() / name; }

  TemporaryDirectory folder_ = *TemporaryDirectory::Make("fedglm-sandbox-test");
};

TEST_F(RestrictFilesystemTest, OnlyWhatIsNamedCanBeOpened) {
  EXPECT_EQ(
      RunInChild([&] {
        const FilesystemRules rules = {.readable = {Path("records"), Path("missing")}, .writable = {Path("output")}};
        if (!RestrictFilesystem(rules).ok()) return 1;
        if (!CanOpen(Path("records/file"), O_RDONLY)) return 2;
        if (CanOpen(Path("records/file"), O_WRONLY)) return 3;
        if (CanOpen(Path("records/new"), O_WRONLY | O_CREAT)) return 4;
        if (!CanOpen(Path("output/file"), O_RDWR)) return 5;
        if (!WriteFileAtomically(Path("output/new"), "x").ok()) return 6;
        if (!FailsWith(EACCES, [&] { return open(Path("private/file").c_str(), O_RDONLY); })) return 7;
        if (CanOpen(Path("missing"), O_WRONLY | O_CREAT)) return 8;
        if (CanOpen("/etc/passwd", O_RDONLY)) return 9;
        if (unlink(Path("private/file").c_str()) == 0 || unlink(Path("records/file").c_str()) == 0) return 10;
        return CanOpen(Path("records/../private/file"), O_RDONLY) ? 11 : 0;
      }),
      0);
  EXPECT_EQ(*ReadFile(Path("output/new")), "x");
  EXPECT_EQ(*ReadFile(Path("records/file")), "records");
}

TEST_F(RestrictFilesystemTest, ASymbolicLinkIsNoWayOut) {
  ASSERT_EQ(symlink(Path("private/file").c_str(), Path("output/link").c_str()), 0);
  EXPECT_EQ(RunInChild([&] {
              if (!RestrictFilesystem({.writable = {Path("output")}}).ok()) return 1;
              return CanOpen(Path("output/link"), O_RDONLY) ? 2 : 0;
            }),
            0);
}

TEST_F(RestrictFilesystemTest, ASingleFileCanBeNamed) {
  EXPECT_EQ(RunInChild([&] {
              if (!RestrictFilesystem({.readable = {Path("records/file")}}).ok()) return 1;
              if (!CanOpen(Path("records/file"), O_RDONLY)) return 2;
              return CanOpen(Path("records"), O_RDONLY | O_DIRECTORY) ? 3 : 0;
            }),
            0);
}

TEST_F(RestrictFilesystemTest, WhatIsOpenGoesOnAndChildrenInherit) {
  EXPECT_EQ(RunInChild([&] {
              const int before = open(Path("private/file").c_str(), O_RDONLY);
              if (!RestrictFilesystem({.readable = {Path("records")}}).ok()) return 1;
              char text[8] = {};
              if (read(before, text, sizeof(text)) != 7) return 2;
              return RunInChild([&] { return CanOpen(Path("private/file"), O_RDONLY) ? 3 : 0; });
            }),
            0);
}

// The trainer's two walls together.
TEST_F(RestrictFilesystemTest, GoesTogetherWithForbiddenSockets) {
  EXPECT_EQ(RunInChild([&] {
              if (!RestrictFilesystem({.readable = {Path("records")}}).ok() || !ForbidSockets().ok()) return 1;
              if (!FailsWith(EPERM, [] { return socket(AF_INET, SOCK_STREAM, 0); })) return 2;
              return CanOpen(Path("records/file"), O_RDONLY) && !CanOpen(Path("private/file"), O_RDONLY) ? 0 : 3;
            }),
            0);
}

}  // namespace
}  // namespace fedglm
