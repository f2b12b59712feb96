#include "bench/measured_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/clock.h"
#include "base/process.h"
#include "bench/memory_group.h"

namespace fedglm::bench {
namespace {

constexpr int kPollMilliseconds = 100;
constexpr int kCannotStart = 127;  // as a shell says it

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

// Between fork and exec only what is safe there.
[[noreturn]] void RunChild(char** arguments, int out, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kCannotStart);
  dup2(out, STDOUT_FILENO);
  for (const int number : {SIGINT, SIGTERM, SIGPIPE}) signal(number, SIG_DFL);
  execv(arguments[0], arguments);
  _exit(kCannotStart);
}

// Reads until the other end is closed. An error leaves the child running.
absl::Status ReadAll(int fd, const std::string& program, const RunLimits& limits, std::string& output) {
  const Stopwatch stopwatch;
  for (;;) {
    if (StopRequested()) return CancelledError("stopped");
    if (stopwatch.Seconds() > static_cast<double>(limits.timeout.count())) {
      return FailedError(program + " did not end in " + std::to_string(limits.timeout.count()) + " s");
    }
    pollfd poll_entry = {fd, POLLIN, 0};
    if (poll(&poll_entry, 1, kPollMilliseconds) <= 0) continue;
    char buffer[4096];
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count == 0) return absl::OkStatus();
    if (count > 0) output.append(buffer, static_cast<size_t>(count));
    if (count < 0 && errno != EINTR) return ErrnoError("reading from " + program, errno);
  }
}

}  // namespace

absl::StatusOr<MeasuredRun> RunMeasured(const std::vector<std::string>& arguments, const RunLimits& limits) {
  const std::string& program = arguments.at(0);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError("pipe", errno);
  Descriptor read_end(ends[0]), write_end(ends[1]);
  std::vector<std::string> command = InMemoryGroup(limits.memory_group, arguments);
  std::vector<char*> argv;
  for (std::string& argument : command) argv.push_back(argument.data());
  argv.push_back(nullptr);

  const Stopwatch stopwatch;
  const pid_t parent = getpid();
  // Not vfork nor posix_spawn: the kernel would count this process's peak memory as the child's.
  const pid_t child = fork();
  if (child < 0) return ErrnoError("cannot start " + program, errno);
  if (child == 0) RunChild(argv.data(), write_end.get(), parent);
  write_end.Close();

  MeasuredRun run;
  const absl::Status reading = ReadAll(read_end.get(), program, limits, run.output);
  if (!reading.ok()) kill(child, SIGKILL);
  int status = 0;
  rusage usage{};
  while (wait4(child, &status, 0, &usage) < 0) {
    if (errno != EINTR) return ErrnoError("waiting for " + program, errno);
  }
  run.seconds = stopwatch.Seconds();
  run.peak_rss_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  FEDGLM_RETURN_IF_ERROR(reading);
  if (WIFSIGNALED(status)) return FailedError(program + " was killed by signal " + std::to_string(WTERMSIG(status)));
  switch (WEXITSTATUS(status)) {
    case 0:
      return run;
    case kCannotStart:
      return FailedError(program + " cannot be started");
    case kCannotJoinGroup:
      return FailedError(program + " cannot join " + limits.memory_group.string());
    default:
      return FailedError(program + " ended with exit code " + std::to_string(WEXITSTATUS(status)));
  }
}

}  // namespace fedglm::bench
