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
#include <new>
#include <utility>

#include "base/cgroup.h"
#include "bench/memory_group.h"

namespace fedglm::soak {
namespace {

constexpr size_t kStep = 256 << 10;
constexpr useconds_t kLookAgain = 2'000;  // microseconds

bool Write(const std::filesystem::path& file, const char* text) {
  const int descriptor = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  const bool written = descriptor >= 0 && write(descriptor, text, std::strlen(text)) > 0;
  if (descriptor >= 0) close(descriptor);
  return written;
}

// In the child. It was forked from a program with threads: what it calls allocates, but takes no lock that another
// thread of the parent may have held at the fork (glibc's own allocator is safe there).
[[noreturn]] void Hog(const HogOptions& options, const std::atomic<bool>& enough) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Write("/proc/self/oom_score_adj", "1000");
  if (!Write(options.group / "cgroup.procs", "0")) _exit(bench::kCannotJoinGroup);
  const auto keep = static_cast<uint64_t>(options.part_left * static_cast<double>(options.limit));
  const uint64_t used = CgroupMemoryUsed(), steps = (options.limit - std::min(options.limit, used + keep)) / kStep;
  const auto pause =
      static_cast<useconds_t>(options.taking.count() * 1000 / std::max<int64_t>(1, static_cast<int64_t>(steps)));
  while (!enough) {
    if (CgroupMemoryUsed() + keep >= options.limit) {
      usleep(kLookAgain);
      continue;
    }
    void* const step = mmap(nullptr, kStep, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (step == MAP_FAILED) break;
    std::memset(step, 1, kStep);
    usleep(pause);
  }
  const timespec rest = {options.keeping.count() / 1000, options.keeping.count() % 1000 * 1'000'000};
  nanosleep(&rest, nullptr);
  _exit(0);
}

}  // namespace

absl::StatusOr<MemoryHog> MemoryHog::Start(const HogOptions& options) {
  using Flag = std::atomic<bool>;
  void* const shared = mmap(nullptr, sizeof(Flag), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return ErrnoError("mmap", errno);
  MemoryHog hog(options, new (shared) Flag(false));
  hog.child_ = fork();
  if (hog.child_ == 0) Hog(options, *hog.enough_);
  if (hog.child_ < 0) return ErrnoError("fork", errno);
  return hog;
}

MemoryHog::MemoryHog(MemoryHog&& other) noexcept
    : options_(std::move(other.options_)),
      enough_(std::exchange(other.enough_, nullptr)),
      child_(std::exchange(other.child_, -1)),
      status_(other.status_) {}

MemoryHog::~MemoryHog() {
  if (child_ > 0 && !status_) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  if (enough_ != nullptr) munmap(enough_, sizeof(*enough_));
}

void MemoryHog::Enough() { *enough_ = true; }

bool MemoryHog::Ended() {
  int status = 0;
  if (!status_ && waitpid(child_, &status, WNOHANG) == child_) status_ = status;
  return status_.has_value();
}

absl::StatusOr<MemoryHog::End> MemoryHog::Outcome() const {
  if (WIFSIGNALED(*status_) && WTERMSIG(*status_) == SIGKILL) return End::kKilled;
  if (WIFEXITED(*status_) && WEXITSTATUS(*status_) == bench::kCannotJoinGroup) {
    return FailedError("cannot join " + options_.group.string());
  }
  return End::kKeptIt;
}

}  // namespace fedglm::soak
