#include "tests/soak/memory_hog.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/cgroup.h"
#include "bench/memory_group.h"

namespace fedglm::soak {
namespace {

constexpr size_t kStep = 1 << 20;
constexpr uint64_t kTakingMicroseconds = 4'000'000;  // the server's monitor looks once a second

bool Write(const std::filesystem::path& file, const char* text) {
  const int descriptor = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  const bool written = descriptor >= 0 && write(descriptor, text, std::strlen(text)) > 0;
  if (descriptor >= 0) close(descriptor);
  return written;
}

// In the child. It was forked from a program with threads: what it calls allocates, but takes no lock that another
// thread of the parent may have held at the fork (glibc's own allocator is safe there).
[[noreturn]] void Hog(const std::filesystem::path& group, uint64_t limit, double part_left,
                      std::chrono::milliseconds time, uint64_t* taken) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Write("/proc/self/oom_score_adj", "1000");
  if (!Write(group / "cgroup.procs", "0")) _exit(bench::kCannotJoinGroup);
  const auto keep = static_cast<uint64_t>(part_left * static_cast<double>(limit));
  const uint64_t used = CgroupMemoryUsed(), steps = (limit - std::min(limit, used + keep)) / kStep;
  const auto pause = static_cast<useconds_t>(kTakingMicroseconds / std::max<uint64_t>(1, steps));
  while (CgroupMemoryUsed() + keep < limit) {
    void* const step = mmap(nullptr, kStep, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (step == MAP_FAILED) break;
    std::memset(step, 1, kStep);
    *taken += kStep;
    usleep(pause);
  }
  const timespec rest = {time.count() / 1000, time.count() % 1000 * 1'000'000};
  nanosleep(&rest, nullptr);
  _exit(0);
}

}  // namespace

absl::StatusOr<HogOutcome> TakeMemory(const std::filesystem::path& group, uint64_t limit, double part_left,
                                      std::chrono::milliseconds time) {
  void* const shared = mmap(nullptr, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return ErrnoError("mmap", errno);
  auto* const taken = static_cast<uint64_t*>(shared);
  const pid_t child = fork();
  if (child == 0) Hog(group, limit, part_left, time, taken);
  int status = 0;
  const bool waited = child > 0 && waitpid(child, &status, 0) == child;
  const HogOutcome outcome = {*taken, waited && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL};
  munmap(shared, sizeof(uint64_t));
  if (!waited) return ErrnoError("the program that takes memory", errno);
  if (WIFEXITED(status) && WEXITSTATUS(status) == bench::kCannotJoinGroup) return FailedError("cannot join " + group.string());
  return outcome;
}

}  // namespace fedglm::soak
