// One job in a process: whatever is printed meanwhile, its last event and its exit status decide.
#include "client/worker_process.h"

#include <gmock/gmock.h>
#include <signal.h>

#include "base/file.h"

namespace fedglm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kStep[] = R"(echo '{"event":"step","step":1}' >&3; )";
constexpr char kDone[] = R"(echo '{"event":"done","loss":0.5}' >&3; )";

class WorkerProcessTest : public testing::Test {
 protected:
  void SetUp() override { signal(SIGPIPE, SIG_IGN); }  // as HandleStopSignals() does

  // A shell in a trainer's place, which reads its job first.
  absl::StatusOr<TrainerEvent> Run(const std::string& script, const std::function<bool()>& stopped = {}) {
    seen_.clear();
    const auto keep = [&](const TrainerEvent& event) { seen_.push_back(event.event); };
    testing::internal::CaptureStderr();
    const auto done =
        RunWorkerProcess(TrainingJob(), false, {keep, stopped}, {"/bin/sh", "-c", "read -r job; " + script});
    log_ = testing::internal::GetCapturedStderr();
    return done;
  }

  std::vector<std::string> seen_;
  std::string log_;
};

TEST_F(WorkerProcessTest, GarbageOnStdoutBetweenEventsGoesToTheLog) {
  const auto done = Run("printf 'a library says: '; " + std::string(kStep) + "head -c 300000 /dev/urandom; " +
                        "head -c 3000000 /dev/zero; printf '{\"event\":\"failed\"}\\n'; " + kDone);
  ASSERT_TRUE(done.ok()) << Message(done.status());
  EXPECT_EQ(done->loss, 0.5);
  EXPECT_THAT(seen_, ElementsAre("step", "done"));
  EXPECT_THAT(log_, HasSubstr("a library says: "));
  EXPECT_GT(log_.size(), 3300000u);
}

TEST_F(WorkerProcessTest, LinesThatAreNoEventsAreSkippedAmongTheEventsToo) {
  const auto done = Run("echo '[W1130 Warning' >&3; " + std::string(kStep) +
                        "head -c 300000 /dev/urandom >&3; echo >&3; head -c 3000000 /dev/zero >&3; echo >&3; " +
                        "printf '{\"event\":\"evaluated\"[W1130\\n\\n7\\n' >&3; " + kDone + "printf '{\"event\":' >&3");
  ASSERT_TRUE(done.ok()) << Message(done.status());
  EXPECT_THAT(seen_, ElementsAre("step", "done"));
  EXPECT_THAT(log_, HasSubstr("the trainer wrote a line of 14 bytes that is no event"));
  EXPECT_LT(log_.size(), 400u) << "told once, and not at length";
}

TEST_F(WorkerProcessTest, HalfAnEventAtTheEndIsNoEnd) {
  const absl::Status status = Run(std::string(kStep) + "printf '{\"event\":\"done\",\"loss\":0.' >&3").status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kFailed);
  EXPECT_THAT(Message(status), HasSubstr("the trainer ended with status 0 before its job was done"));
  EXPECT_THAT(seen_, ElementsAre("step"));
}

TEST_F(WorkerProcessTest, TheExitStatusCountsAfterDoneToo) {
  const absl::Status status = Run(std::string(kDone) + "kill -SEGV $$").status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kFailed);
  EXPECT_THAT(Message(status), HasSubstr("139"));
}

TEST_F(WorkerProcessTest, ItsOwnErrorArrivesAsItsStatus) {
  const absl::Status status =
      Run(R"(echo noise >&2; echo '{"event":"failed","exit_code":6,"message":"a.jsonl:3: no record"}' >&3; exit 6)")
          .status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
  EXPECT_EQ(Message(status), "a.jsonl:3: no record");
}

TEST_F(WorkerProcessTest, AFloodWithoutAnEndOfLineCanBeStopped) {
  int asked = 0;
  const auto stopped = [&] { return ++asked > 3; };
  EXPECT_EQ(Run("exec cat /dev/zero >&3", stopped).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(WorkerProcessTest, AMissingProgramIsNamed) {
  const absl::Status status = RunWorkerProcess(TrainingJob(), true, {}, {"/nowhere/fedglm-trainer"}).status();
  EXPECT_THAT(Message(status), HasSubstr("/nowhere/fedglm-trainer"));
}

}  // namespace
}  // namespace fedglm
