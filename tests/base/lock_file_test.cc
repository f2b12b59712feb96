#include "base/lock_file.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/file.h"

namespace fedglm {
namespace {

class LockFileTest : public testing::Test {
 protected:
  absl::StatusOr<LockFile> Take() const { return LockFile::Take(path_, "another one runs here"); }
  const TemporaryDirectory folder_ = *TemporaryDirectory::Make();
  const std::filesystem::path path_ = folder_.path() / "lock";
};

TEST_F(LockFileTest, OneHoldsItUntilItIsDestroyed) {
  {
    const absl::StatusOr<LockFile> first = Take();
    ASSERT_TRUE(first.ok()) << Message(first.status());
    const absl::Status second = Take().status();
    EXPECT_EQ(ExitCodeOf(second), ExitCode::kUnreachable);
    EXPECT_EQ(Message(second), "another one runs here");
  }
  EXPECT_TRUE(Take().ok());
}

TEST_F(LockFileTest, WhoIsMovedHoldsItOn) {
  absl::StatusOr<LockFile> first = Take();
  ASSERT_TRUE(first.ok());
  const LockFile moved = *std::move(first);
  first = UsageError("gone");
  EXPECT_FALSE(Take().ok());
}

TEST_F(LockFileTest, AKilledProcessLeavesItFree) {
  int taken[2];
  ASSERT_EQ(pipe(taken), 0);
  const pid_t child = fork();
  if (child == 0) {
    const absl::StatusOr<LockFile> lock = Take();
    const char answer = lock.ok() ? 'y' : 'n';
    if (write(taken[1], &answer, 1) == 1) pause();
    _exit(0);
  }
  char answer = 0;
  ASSERT_EQ(read(taken[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_EQ(ExitCodeOf(Take().status()), ExitCode::kUnreachable);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(Take().ok());
  close(taken[0]);
  close(taken[1]);
}

TEST_F(LockFileTest, AFolderThatIsNotThereIsNamed) {
  const absl::Status status = LockFile::Take(folder_.path() / "none" / "lock", "busy").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(status), testing::HasSubstr("none/lock"));
}

}  // namespace
}  // namespace fedglm
