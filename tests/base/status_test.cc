#include "base/status.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace fedglm {
namespace {

absl::StatusOr<int> Half(int number) {
  if (number % 2 != 0) return BadFileError(std::to_string(number) + " is odd");
  return number / 2;
}

absl::StatusOr<int> Quarter(int number) {
  FEDGLM_ASSIGN_OR_RETURN(const int half, Half(number));
  FEDGLM_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

absl::Status CheckQuarter(int number) {
  FEDGLM_RETURN_IF_ERROR(Quarter(number).status());
  return absl::OkStatus();
}

// DESIGN.md documents these numbers: scripts depend on them.
TEST(Status, EachKindHasItsExitCode) {
  EXPECT_EQ(static_cast<int>(ExitCodeOf(absl::OkStatus())), 0);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(FailedError("x"))), 1);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(CancelledError("x"))), 1);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(absl::UnknownError("x"))), 1);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(UsageError("x"))), 2);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(ConfigurationError("x"))), 3);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(RefusedError("x"))), 4);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(absl::UnauthenticatedError("x"))), 4);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(UnreachableError("x"))), 5);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(absl::DeadlineExceededError("x"))), 5);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(BadFileError("x"))), 6);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(NotFoundError("x"))), 6);
}

TEST(Status, AnAnnotationKeepsTheKind) {
  const absl::Status status = Annotate(Annotate(RefusedError("revoked"), "site-3"), "round 2");
  EXPECT_EQ(Message(status), "round 2: site-3: revoked");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused);
  EXPECT_TRUE(Annotate(absl::OkStatus(), "round 2").ok());
}

TEST(Status, AnErrnoIsToldInWords) {
  EXPECT_EQ(Message(ErrnoError("/a/b", ENOSPC)), "/a/b: No space left on device");
  EXPECT_EQ(ExitCodeOf(ErrnoError("/a/b", ENOSPC)), ExitCode::kFailed);
  EXPECT_EQ(ErrnoError("/a/b", ENOENT).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrnoError("/a/b", ENOTDIR).code(), absl::StatusCode::kNotFound);
}

TEST(Status, MacrosPassTheFirstErrorOn) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(Message(Quarter(6).status()), "3 is odd");
  EXPECT_EQ(Message(CheckQuarter(5)), "5 is odd");
  EXPECT_TRUE(CheckQuarter(8).ok());
}

}  // namespace
}  // namespace fedglm
