#include "base/status.h"

#include <cerrno>
#include <cstring>

namespace fedglm {
namespace {

absl::Status Make(absl::StatusCode code, std::string_view message) {
  return absl::Status(code, absl::string_view(message.data(), message.size()));
}

}  // namespace

absl::Status FailedError(std::string message) { return Make(absl::StatusCode::kInternal, message); }
absl::Status UsageError(std::string message) { return Make(absl::StatusCode::kInvalidArgument, message); }
absl::Status ConfigurationError(std::string message) { return Make(absl::StatusCode::kFailedPrecondition, message); }
absl::Status RefusedError(std::string message) { return Make(absl::StatusCode::kPermissionDenied, message); }
absl::Status UnreachableError(std::string message) { return Make(absl::StatusCode::kUnavailable, message); }
absl::Status BadFileError(std::string message) { return Make(absl::StatusCode::kDataLoss, message); }
absl::Status NotFoundError(std::string message) { return Make(absl::StatusCode::kNotFound, message); }
absl::Status CancelledError(std::string message) { return Make(absl::StatusCode::kCancelled, message); }

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kDone;
    case absl::StatusCode::kInvalidArgument:
      return ExitCode::kUsage;
    case absl::StatusCode::kFailedPrecondition:
      return ExitCode::kConfiguration;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return ExitCode::kRefused;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return ExitCode::kUnreachable;
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kNotFound:
      return ExitCode::kBadInputFile;
    default:
      return ExitCode::kFailed;
  }
}

std::string Message(const absl::Status& status) {
  const absl::string_view message = status.message();
  return std::string(message.data(), message.size());
}

absl::Status Annotate(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  return Make(status.code(), std::string(prefix) + ": " + Message(status));
}

absl::Status ErrnoError(std::string_view what, int error_number) {
  std::string message = std::string(what) + ": " + std::strerror(error_number);
  if (error_number == ENOENT || error_number == ENOTDIR) return NotFoundError(std::move(message));
  return FailedError(std::move(message));
}

}  // namespace fedglm
