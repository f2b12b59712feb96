#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <thread>
#include <utility>

extern char** environ;

namespace fedglm {
namespace {

constexpr size_t kMaxLine = size_t{1} << 20;
constexpr auto kStopPoll = std::chrono::milliseconds(100);
constexpr auto kGrace = std::chrono::seconds(5);

std::atomic<int> stop_signal{0};

extern "C" void OnStopSignal(int number) {
  int none = 0;
  if (!stop_signal.compare_exchange_strong(none, number)) _exit(128 + number);
}

std::atomic<int64_t> reload_requests{0};
static_assert(std::atomic<int64_t>::is_always_lock_free);  // else not to be touched by a signal's handler

extern "C" void OnReloadSignal(int) { reload_requests.fetch_add(1); }

// This process's environment with the additions put over it.
std::vector<std::string> MergedEnvironment(const std::vector<std::string>& additions) {
  std::map<std::string, std::string> merged;
  const auto put = [&](const std::string& entry) { merged[entry.substr(0, entry.find('='))] = entry; };
  for (char** entry = environ; *entry != nullptr; ++entry) put(*entry);
  for (const std::string& entry : additions) put(entry);
  std::vector<std::string> result;
  for (auto& [name, entry] : merged) result.push_back(std::move(entry));
  return result;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

void CloseIfOpen(int& descriptor) {
  if (descriptor >= 0) close(descriptor);
  descriptor = -1;
}

// The same file above the descriptors that a child is given: put into their places one after the other, none covers one
// that is still to be put. -1 as it came, or with errno.
int Lifted(int descriptor) {
  if (descriptor < 0 || descriptor > kEventsDescriptor) return descriptor;
  const int lifted = fcntl(descriptor, F_DUPFD_CLOEXEC, kEventsDescriptor + 1);
  const int error = errno;
  close(descriptor);
  errno = error;
  return lifted;
}

struct Pipe {
  int read = -1, write = -1;
  ~Pipe() {
    CloseIfOpen(read);
    CloseIfOpen(write);
  }
  absl::Status Open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError("pipe", errno);
    read = Lifted(ends[0]);
    write = Lifted(ends[1]);
    return read >= 0 && write >= 0 ? absl::OkStatus() : ErrnoError("pipe", errno);
  }
};

absl::StatusOr<int> OpenOutput(const std::filesystem::path& path) {
  const int file = Lifted(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (file < 0) return ErrnoError(path.string(), errno);
  return file;
}

// What the child is to find on its descriptors 0 to 3; -1: what this process has there.
struct ChildDescriptors {
  int in = -1, out = -1, err = -1, events = -1;
  int report = -1;  // where it says that it could not start
};

// Between fork and exec only what is safe there: no allocation, no locks.
[[noreturn]] void RunChild(const SpawnOptions& options, pid_t parent, char** arguments, char** environment,
                           const ChildDescriptors& descriptors) {
  if (options.die_with_parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
  }
  if (options.own_process_group) setpgid(0, 0);
  if (descriptors.in >= 0) dup2(descriptors.in, STDIN_FILENO);
  if (descriptors.out >= 0) dup2(descriptors.out, STDOUT_FILENO);
  if (descriptors.err >= 0) dup2(descriptors.err, STDERR_FILENO);
  if (descriptors.events >= 0) {
    dup2(descriptors.events, kEventsDescriptor);
    dup2(STDERR_FILENO, STDOUT_FILENO);
  }
  for (const int number : {SIGINT, SIGTERM, SIGPIPE, SIGCHLD}) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(arguments[0], arguments, environment);
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(descriptors.report, &error, sizeof(error));
  _exit(127);
}

int ExitStatus(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

absl::StatusOr<Process> Process::Spawn(const SpawnOptions& options) {
  if (options.arguments.empty()) return UsageError("no program to start");
  Pipe in, lines, report;
  FEDGLM_RETURN_IF_ERROR(report.Open());
  if (options.pipe_stdin) FEDGLM_RETURN_IF_ERROR(in.Open());
  if (options.pipe_events || options.pipe_stdout) FEDGLM_RETURN_IF_ERROR(lines.Open());
  Pipe files;  // owns the two output files: read is stdout's, write is stderr's
  if (!options.pipe_events && !options.stdout_file.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(files.read, OpenOutput(options.stdout_file));
  }
  if (!options.stderr_file.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(files.write, OpenOutput(options.stderr_file));
  }
  std::vector<std::string> arguments = options.arguments, environment = MergedEnvironment(options.environment);
  std::vector<char*> argv = Pointers(arguments), envp = Pointers(environment);

  ChildDescriptors descriptors;
  descriptors.in = in.read;
  descriptors.err = files.write;
  descriptors.report = report.write;
  if (options.pipe_events) {
    descriptors.events = lines.write;
  } else {
    descriptors.out = files.read >= 0 ? files.read : lines.write;
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return ErrnoError("cannot start " + options.arguments[0], errno);
  if (pid == 0) RunChild(options, parent, argv.data(), envp.data(), descriptors);
  Process process;
  process.pid_ = pid;
  process.stdin_ = std::exchange(in.write, -1);
  process.lines_ = std::exchange(lines.read, -1);
  CloseIfOpen(report.write);
  int error = 0;
  ssize_t got;
  do {
    got = read(report.read, &error, sizeof(error));
  } while (got < 0 && errno == EINTR);
  if (got == sizeof(error)) {
    process.Wait();
    return ErrnoError("cannot start " + options.arguments[0], error);
  }
  return process;
}

Process::Process(Process&& other) noexcept { *this = std::move(other); }

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(stdin_, other.stdin_);
  std::swap(lines_, other.lines_);
  std::swap(status_, other.status_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

Process::~Process() {
  CloseIfOpen(stdin_);
  CloseIfOpen(lines_);
  if (pid_ > 0 && !status_) {
    kill(pid_, SIGKILL);
    Wait();
  }
}

absl::Status Process::Write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(stdin_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError("writing to a child process", errno);
    text.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

void Process::CloseStdin() { CloseIfOpen(stdin_); }

absl::StatusOr<std::optional<std::string>> Process::ReadLine() {
  while (true) {
    absl::StatusOr<std::optional<std::string>> line = ReadLineFor(std::chrono::hours(1));
    if (line.ok() || line.status().code() != absl::StatusCode::kDeadlineExceeded) return line;
  }
}

absl::StatusOr<std::optional<std::string>> Process::ReadLineFor(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (bool has_read = false;; has_read = true) {
    if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, std::min(end, kMaxLine));
      buffer_.erase(0, end + 1);
      return std::optional<std::string>(std::move(line));
    }
    if (buffer_.size() > kMaxLine) buffer_.resize(kMaxLine);
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    // A line without end is no reason to come late.
    if (has_read && left.count() <= 0) return absl::DeadlineExceededError("no line yet");
    pollfd wait = {lines_, POLLIN, 0};
    const int ready = poll(&wait, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    if (ready < 0 && errno == EINTR && stop_signal.load() == 0) continue;
    if (ready <= 0) return absl::DeadlineExceededError("no line yet");
    char chunk[65536];
    const ssize_t got = read(lines_, chunk, sizeof(chunk));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError("reading from a child process", errno);
    if (got == 0) {
      if (buffer_.empty()) return std::optional<std::string>();
      return std::optional<std::string>(std::exchange(buffer_, {}));
    }
    buffer_.append(chunk, static_cast<size_t>(got));
  }
}

absl::Status Process::ReadLines(const std::function<absl::Status(const std::string&)>& on_line,
                                const std::function<bool()>& stopped) {
  while (true) {
    const absl::StatusOr<std::optional<std::string>> line = ReadLineFor(kStopPoll);
    if (!line.ok() && line.status().code() != absl::StatusCode::kDeadlineExceeded) return line.status();
    if (line.ok()) {
      if (!line->has_value()) return absl::OkStatus();
      FEDGLM_RETURN_IF_ERROR(on_line(**line));
    }
    if (stopped && stopped()) {
      Terminate(kGrace);
      return CancelledError("stopped");
    }
  }
}

bool Process::Running() { return !WaitFor(std::chrono::milliseconds(0)).has_value(); }

int Process::Wait() {
  if (!status_) {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0) {
      if (errno != EINTR) return status_.emplace(127);  // somebody else reaped it
    }
    status_ = ExitStatus(status);
  }
  return *status_;
}

std::optional<int> Process::WaitFor(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!status_) {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) {
      status_ = ExitStatus(status);
    } else if (ended < 0 && errno != EINTR) {
      status_ = 127;
    } else if (std::chrono::steady_clock::now() >= deadline) {
      return std::nullopt;
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  return status_;
}

void Process::Signal(int signal_number) {
  if (pid_ > 0 && !status_) kill(pid_, signal_number);
}

int Process::Terminate(std::chrono::milliseconds grace) {
  Signal(SIGTERM);
  if (const std::optional<int> status = WaitFor(grace)) return *status;
  Signal(SIGKILL);
  return Wait();
}

void HandleStopSignals() {
  struct sigaction action = {};
  action.sa_handler = OnStopSignal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

bool StopRequested() { return stop_signal.load() != 0; }
int StopSignal() { return stop_signal.load(); }
void RequestStop(int signal_number) { stop_signal.store(signal_number); }

void HandleReloadSignal() {
  struct sigaction action = {};
  action.sa_handler = OnReloadSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGHUP, &action, nullptr);
}

int64_t ReloadRequests() { return reload_requests.load(); }

absl::StatusOr<int> TakeStdout() {
  const int data = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, kEventsDescriptor + 1);
  if (data < 0) return ErrnoError("stdout", errno);
  if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
    close(data);
    return ErrnoError("stderr", errno);
  }
  return data;
}

std::filesystem::path ExecutableDirectory() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

}  // namespace fedglm
