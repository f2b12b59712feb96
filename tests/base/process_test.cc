#include "base/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "base/clock.h"
#include "base/file.h"
#include "tests/base/forked_child.h"
#include "tests/support/source_tree.h"

namespace fedglm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

SpawnOptions Shell(const std::string& script) {
  SpawnOptions options;
  options.arguments = {"/bin/sh", "-c", script};
  options.pipe_stdout = true;
  return options;
}

Process Start(const SpawnOptions& options) {
  absl::StatusOr<Process> process = Process::Spawn(options);
  EXPECT_TRUE(process.ok()) << Message(process.status());
  return *std::move(process);
}

// The next line; "(end)" at the end, and in place of an error its message.
std::string Line(Process& process) {
  const absl::StatusOr<std::optional<std::string>> line = process.ReadLineFor(seconds(30));
  return !line.ok() ? Message(line.status()) : line->value_or("(end)");
}

TEST(Process, LinesComeOneByOneAndTheLastNeedsNoEnd) {
  Process process = Start(Shell("printf 'one\\n\\nthree'; exit 7"));
  EXPECT_EQ(**process.ReadLine(), "one");
  EXPECT_EQ(Line(process), "");
  EXPECT_EQ(Line(process), "three");
  EXPECT_EQ(Line(process), "(end)");
  EXPECT_FALSE(process.ReadLine()->has_value());
  EXPECT_EQ(process.Wait(), 7);
  EXPECT_EQ(process.Wait(), 7) << "asked twice";
  EXPECT_FALSE(process.Running());
}

TEST(Process, ALineLongerThanThePipeIsReadWhole) {
  Process process = Start(Shell("head -c 300000 /dev/zero | tr '\\0' x; echo; echo after"));
  EXPECT_EQ(Line(process), std::string(300000, 'x'));
  EXPECT_EQ(Line(process), "after");
}

TEST(Process, OfALineWithoutEndOnlyTheBeginningIsKeptAndTheNextOneComesWhole) {
  Process process = Start(Shell("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo after"));
  EXPECT_EQ(Line(process), std::string(1 << 20, 'x'));
  EXPECT_EQ(Line(process), "after");
}

TEST(Process, ALineThatNeverEndsDoesNotMakeTheReaderLate) {
  Process process = Start(Shell("exec tr '\\0' x </dev/zero"));
  const Stopwatch stopwatch;
  EXPECT_EQ(process.ReadLineFor(milliseconds(50)).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(stopwatch.Seconds(), 20);
}

TEST(Process, ReadLinesGivesEveryLineAndEndsWithTheChild) {
  Process process = Start(Shell("echo one; echo two; exit 3"));
  std::string all;
  const auto keep = [&](const std::string& line) {
    all += line + ";";
    return absl::OkStatus();
  };
  EXPECT_TRUE(process.ReadLines(keep, {}).ok());
  EXPECT_EQ(all, "one;two;");
  EXPECT_EQ(process.Wait(), 3);
}

TEST(Process, ReadLinesGivesBackTheFirstErrorOfItsCaller) {
  Process process = Start(Shell("echo one; echo two; exec sleep 60"));
  int lines = 0;
  const auto fail = [&](const std::string& line) {
    return ++lines == 2 ? FailedError("at " + line) : absl::OkStatus();
  };
  EXPECT_EQ(Message(process.ReadLines(fail, {})), "at two");
}

TEST(Process, ReadLinesEndsAChildThatIsNoLongerWanted) {
  Process process = Start(Shell("echo one; exec sleep 60"));
  bool stop = false;
  const auto ask_to_stop = [&](const std::string&) {
    stop = true;
    return absl::OkStatus();
  };
  EXPECT_EQ(process.ReadLines(ask_to_stop, [&] { return stop; }).code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(process.Running());
}

TEST(Process, WhatIsWrittenArrivesAndTheEndOfInputToo) {
  SpawnOptions options = Shell("exec cat");
  options.pipe_stdin = true;
  Process process = Start(options);
  ASSERT_TRUE(process.Write("to and fro\n").ok());
  EXPECT_EQ(Line(process), "to and fro");
  process.CloseStdin();
  EXPECT_EQ(Line(process), "(end)");
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_FALSE(process.Write("more").ok());
}

TEST(Process, WritingToAChildThatHasClosedItsInputIsAnError) {
  SpawnOptions options = Shell("exec 0<&-; echo closed; exec sleep 60");
  options.pipe_stdin = true;
  Process process = Start(options);
  ASSERT_EQ(Line(process), "closed");
  const auto before = signal(SIGPIPE, SIG_IGN);  // as HandleStopSignals() does
  EXPECT_EQ(ExitCodeOf(process.Write("x")), ExitCode::kFailed);
  signal(SIGPIPE, before);
}

TEST(Process, ReadingGivesUpAtItsDeadlineAndGoesOnLater) {
  SpawnOptions options = Shell("printf half; read line; echo \" $line\"");
  options.pipe_stdin = true;
  Process process = Start(options);
  const Stopwatch stopwatch;
  EXPECT_EQ(process.ReadLineFor(milliseconds(50)).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(stopwatch.Seconds(), 0.04);
  EXPECT_LT(stopwatch.Seconds(), 20);
  ASSERT_TRUE(process.Write("whole\n").ok());
  EXPECT_EQ(Line(process), "half whole") << "what was read before the deadline was lost";
}

TEST(Process, AMissingProgramIsNotFound) {
  SpawnOptions options;
  options.arguments = {"/nonexistent/fedglm-trainer"};
  const absl::Status status = Process::Spawn(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(Message(status).find("/nonexistent/fedglm-trainer"), std::string::npos) << Message(status);
}

TEST(Process, WhatIsNoProgramCannotBeStarted) {
  SpawnOptions options;
  EXPECT_EQ(ExitCodeOf(Process::Spawn(options).status()), ExitCode::kUsage);
  options.arguments = {"/"};
  EXPECT_EQ(ExitCodeOf(Process::Spawn(options).status()), ExitCode::kFailed);
}

TEST(Process, TheEnvironmentIsOursWithAdditions) {
  setenv("FEDGLM_TEST_KEPT", "kept", 1);
  setenv("FEDGLM_TEST_CHANGED", "before", 1);
  SpawnOptions options = Shell("echo $FEDGLM_TEST_KEPT $FEDGLM_TEST_CHANGED $FEDGLM_TEST_NEW");
  options.environment = {"FEDGLM_TEST_CHANGED=after", "FEDGLM_TEST_NEW=a=b"};
  Process process = Start(options);
  EXPECT_EQ(Line(process), "kept after a=b");
  EXPECT_STREQ(getenv("FEDGLM_TEST_CHANGED"), "before");
  unsetenv("FEDGLM_TEST_KEPT");
  unsetenv("FEDGLM_TEST_CHANGED");
}

TEST(Process, OutputGoesToFilesAndIsAppended) {
  const auto folder = TemporaryDirectory::Make();
  SpawnOptions options = Shell("echo out; echo err >&2");
  options.pipe_stdout = false;
  options.stdout_file = folder->path() / "out";
  options.stderr_file = folder->path() / "err";
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Start(options).Wait(), 0);
  EXPECT_EQ(*ReadFile(folder->path() / "out"), "out\nout\n");
  EXPECT_EQ(*ReadFile(folder->path() / "err"), "err\nerr\n");
  options.stdout_file = folder->path() / "missing" / "out";
  EXPECT_EQ(Process::Spawn(options).status().code(), absl::StatusCode::kNotFound);
}

SpawnOptions WithEvents(const std::string& script, const std::filesystem::path& log) {
  SpawnOptions options = Shell(script);
  options.pipe_events = true;
  options.stderr_file = log;
  return options;
}

TEST(Process, EventsHaveADescriptorOfTheirOwnAndOutputGoesToTheLog) {
  const auto folder = TemporaryDirectory::Make();
  Process process = Start(WithEvents("echo out; echo event >&3; echo err >&2; echo last >&3", folder->path() / "log"));
  EXPECT_EQ(Line(process), "event");
  EXPECT_EQ(Line(process), "last");
  EXPECT_EQ(Line(process), "(end)");
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_EQ(*ReadFile(folder->path() / "log"), "out\nerr\n");
}

// A daemon may have been started with some of its first descriptors closed: the pipes are then made in their places.
TEST(Process, EveryDescriptorReachesItsPlaceWhicheverAreFree) {
  const auto folder = TemporaryDirectory::Make();
  for (unsigned closed = 0; closed < 16; ++closed) {
    const std::filesystem::path log = folder->path() / std::to_string(closed);
    SpawnOptions options = WithEvents("read line; echo \"$line\"; echo err >&2; echo \"event $line\" >&3", log);
    options.pipe_stdin = true;
    EXPECT_EQ(RunInChild([&] {
                for (int descriptor = 0; descriptor <= kEventsDescriptor; ++descriptor) {
                  if (closed & (1u << descriptor)) close(descriptor);
                }
                absl::StatusOr<Process> process = Process::Spawn(options);
                if (!process.ok()) return 1;
                if (!process->Write("word\n").ok()) return 2;
                if (Line(*process) != "event word") return 3;
                return process->Wait() == 0 ? 0 : 4;
              }),
              0)
        << closed;
    EXPECT_EQ(*ReadFile(log), "word\nerr\n") << closed;
  }
}

TEST(TakeStdout, WhatALibraryPrintsDoesNotMeetTheData) {
  const auto folder = TemporaryDirectory::Make();
  const std::filesystem::path out = folder->path() / "out", err = folder->path() / "err";
  EXPECT_EQ(RunInChild([&] {
              if (freopen(out.c_str(), "w", stdout) == nullptr || freopen(err.c_str(), "w", stderr) == nullptr)
                return 1;
              const absl::StatusOr<int> data = TakeStdout();
              if (!data.ok()) return 2;
              std::printf("noise");
              std::fflush(stdout);
              return write(*data, "data", 4) == 4 ? 0 : 3;
            }),
            0);
  EXPECT_EQ(*ReadFile(out), "data");
  EXPECT_EQ(*ReadFile(err), "noise");
}

TEST(Process, TerminateEndsAChildThatListens) {
  Process process = Start(Shell("echo ready; exec sleep 60"));
  ASSERT_EQ(Line(process), "ready");
  EXPECT_TRUE(process.Running());
  EXPECT_FALSE(process.WaitFor(milliseconds(20)).has_value());
  EXPECT_EQ(process.Terminate(seconds(30)), 128 + SIGTERM);
  EXPECT_FALSE(process.Running());
}

TEST(Process, TerminateKillsAChildThatDoesNotListen) {
  Process process = Start(Shell("trap '' TERM; echo ready; exec sleep 60"));
  ASSERT_EQ(Line(process), "ready");
  const Stopwatch stopwatch;
  EXPECT_EQ(process.Terminate(milliseconds(100)), 128 + SIGKILL);
  EXPECT_GE(stopwatch.Seconds(), 0.1);
  EXPECT_LT(stopwatch.Seconds(), 30);
}

TEST(Process, IsKilledAndReapedWithItsObject) {
  pid_t pid = 0;
  {
    Process process = Start(Shell("echo ready; exec sleep 60"));
    ASSERT_EQ(Line(process), "ready");
    const Process moved = std::move(process);
    pid = moved.pid();
    EXPECT_EQ(kill(pid, 0), 0) << "moving must not end it";
  }
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

// The parent ends without a word; the grandchild must not go on alone. As a subreaper we see how it ends.
TEST(Process, DiesWithItsParent) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int status = RunInChild([&] {
    Process process = Start(Shell("echo ready; exec sleep 60"));
    if (Line(process) != "ready") return 1;
    const pid_t pid = process.pid();
    if (write(ends[1], &pid, sizeof(pid)) != sizeof(pid)) return 2;
    _exit(0);  // no destructor
  });
  EXPECT_EQ(status, 0);
  pid_t grandchild = 0;
  ASSERT_EQ(read(ends[0], &grandchild, sizeof(grandchild)), static_cast<ssize_t>(sizeof(grandchild)));
  int ended = 0;
  EXPECT_EQ(waitpid(grandchild, &ended, 0), grandchild);
  EXPECT_TRUE(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL);
  close(ends[0]);
  close(ends[1]);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(Process, AGroupOfItsOwnIsNotOurs) {
  SpawnOptions options = Shell("echo ready; exec sleep 60");
  options.own_process_group = true;
  Process process = Start(options);
  ASSERT_EQ(Line(process), "ready");
  EXPECT_EQ(getpgid(process.pid()), process.pid());
  Process ours = Start(Shell("echo ready; exec sleep 60"));
  ASSERT_EQ(Line(ours), "ready");
  EXPECT_EQ(getpgid(ours.pid()), getpgid(0));
}

TEST(Process, NoDescriptorOfOursIsInherited) {
  const auto folder = TemporaryDirectory::Make();
  SpawnOptions sleeping = Shell("exec cat");
  sleeping.pipe_stdin = true;
  Process first = Start(sleeping);
  Process second = Start(Shell("ls -l /proc/self/fd"));
  std::string listing;
  for (std::string line = Line(second); line != "(end)"; line = Line(second)) listing += line + "\n";
  // Besides its own stdout, which is a pipe too, the second child must not hold the first one's pipes open.
  const std::string stdin_of_first = "/proc/" + std::to_string(first.pid()) + "/fd/0";
  const std::string pipe_of_first = std::filesystem::read_symlink(stdin_of_first).string();
  EXPECT_EQ(listing.find(pipe_of_first), std::string::npos) << listing;
  first.CloseStdin();
  EXPECT_EQ(first.Wait(), 0);
}

TEST(StopSignals, TheFirstIsAFlagAndTheSecondEndsTheProcess) {
  const auto body = [] {
    HandleStopSignals();
    if (StopRequested() || StopSignal() != 0) return 1;
    raise(SIGPIPE);  // is ignored
    raise(SIGINT);
    if (!StopRequested() || StopSignal() != SIGINT) return 2;
    raise(SIGTERM);
    return 3;
  };
  EXPECT_EQ(RunInChild(body), 128 + SIGTERM);
}

TEST(StopSignals, AStopCanBeRequestedFromWithin) {
  EXPECT_EQ(RunInChild([] {
              RequestStop(SIGTERM);
              return StopRequested() && StopSignal() == SIGTERM ? 0 : 1;
            }),
            0);
}

TEST(ReloadSignal, IsCountedAndEndsNothing) {
  const auto body = [] {
    HandleStopSignals();
    HandleReloadSignal();
    if (ReloadRequests() != 0) return 1;
    raise(SIGHUP);
    raise(SIGHUP);
    if (ReloadRequests() != 2) return 2;
    return StopRequested() ? 3 : 0;
  };
  EXPECT_EQ(RunInChild(body), 0);
}

TEST(ReloadSignal, WithoutAHandlerEndsTheProcess) {
  const auto body = [] {
    signal(SIGHUP, SIG_DFL);  // of a test that nohup has started
    HandleStopSignals();
    raise(SIGHUP);
    return 1;
  };
  EXPECT_EQ(RunInChild(body), 128 + SIGHUP) << "a command goes with its terminal";
}

TEST(ExecutableDirectory, IsWhereThisProgramLies) {
  EXPECT_TRUE(std::filesystem::equivalent(ExecutableDirectory(), ProgramFolder()));
}

}  // namespace
}  // namespace fedglm
