// Runs a part of a test in a child process: what cannot be taken back (seccomp, Landlock, limits, mounts) ends with it.
// Fork only while this process has no other threads.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

namespace fedglm {

constexpr int kNotHere = 77;  // this kernel or this user cannot do what the test needs

// The child's exit status, or 128 + signal number. `body` returns 0 if all is well, else a number of its own, so that
// the failure says where: gtest's assertions do not reach the parent.
inline int RunInChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// In a child: mounts of its own, which nobody else sees. False where that is not allowed.
inline bool EnterMountNamespace() {
  return unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

#define EXPECT_CHILD_SUCCEEDS(why_not_here, ...)                            \
  do {                                                                      \
    const int fedglm_child = ::fedglm::RunInChild(__VA_ARGS__);             \
    if (fedglm_child == ::fedglm::kNotHere) GTEST_SKIP() << (why_not_here); \
    EXPECT_EQ(fedglm_child, 0);                                             \
  } while (false)

}  // namespace fedglm
