// Child processes with pipes, this process's own end (Ctrl-C, SIGTERM), and the wish to look again (SIGHUP).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace fedglm {

// On this descriptor a child that was started with `pipe_events` finds its pipe.
inline constexpr int kEventsDescriptor = 3;

struct SpawnOptions {
  std::vector<std::string> arguments;    // [0] is the program's path
  std::vector<std::string> environment;  // "NAME=value", added to (or replacing in) this process's own
  std::filesystem::path stdout_file;     // empty: a pipe if pipe_stdout, else inherited
  std::filesystem::path stderr_file;     // empty: inherited
  bool pipe_stdin = false;
  bool pipe_stdout = false;
  // The child's lines are read from a pipe of their own, and stdout, to which any library may print, goes where stderr
  // goes; pipe_stdout and stdout_file count for nothing.
  bool pipe_events = false;
  bool die_with_parent = true;     // PR_SET_PDEATHSIG(SIGKILL)
  bool own_process_group = false;  // not reached by the terminal's Ctrl-C
};

// A child. When destroyed, a child still running is killed and reaped. Not thread-safe.
class Process {
 public:
  static absl::StatusOr<Process> Spawn(const SpawnOptions& options);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  pid_t pid() const { return pid_; }
  // Writes all of `text` to the child's stdin; Failed if the child has closed it.
  absl::Status Write(std::string_view text);
  void CloseStdin();
  // The next line of the child's stdout (with pipe_events: of that pipe) without its end, nullopt at its end. Blocks.
  // Of a line over 1 MiB the rest is dropped.
  absl::StatusOr<std::optional<std::string>> ReadLine();
  // As ReadLine, waiting at most `timeout`: DeadlineExceeded then.
  absl::StatusOr<std::optional<std::string>> ReadLineFor(std::chrono::milliseconds timeout);
  // Gives each of these lines to `on_line` until its end, or until an error of `on_line`, which is
  // returned. `stopped` may be empty; it is asked after every line and several times a second. Once it says so, the
  // child is ended (Terminate) and the answer is Cancelled.
  absl::Status ReadLines(const std::function<absl::Status(const std::string&)>& on_line,
                         const std::function<bool()>& stopped);
  bool Running();
  // Waits for the end. Exit status, or 128 + signal number.
  int Wait();
  std::optional<int> WaitFor(std::chrono::milliseconds timeout);
  void Signal(int signal_number);
  // SIGTERM, then SIGKILL after `grace`. Returns as Wait().
  int Terminate(std::chrono::milliseconds grace);

 private:
  Process() = default;
  pid_t pid_ = -1;
  int stdin_ = -1;
  int lines_ = -1;
  std::optional<int> status_;
  std::string buffer_;
};

// Turns SIGINT and SIGTERM into a flag. The second signal ends the process at once with 128 + signal number.
// Also ignores SIGPIPE. Call once, early in main(), before threads start.
void HandleStopSignals();
bool StopRequested();
int StopSignal();  // 0 if none yet
void RequestStop(int signal_number);

// For a program that runs for months: SIGHUP no longer ends it and is counted. Calls that it interrupts go on by
// themselves. Call once, early in main(), before threads start.
void HandleReloadSignal();
int64_t ReloadRequests();  // how many there were

// For a program that prints data on stdout and is linked with what may print there too: gives a descriptor for the
// data, closed in children, and lets stdout go where stderr goes. Call first in main().
absl::StatusOr<int> TakeStdout();

// Where this process's executable lies, to find the programs beside it.
std::filesystem::path ExecutableDirectory();

}  // namespace fedglm
