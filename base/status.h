// How this project says that something went wrong: absl::Status everywhere, and one exit code for each kind.
//
// Debian's Abseil has its own string_view, which does not convert to or from std::string_view. It is hidden here:
// make errors with the functions below and read them with Message().
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedglm {

// The exit codes that every program of this project documents.
enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kConfiguration = 3,
  kRefused = 4,
  kUnreachable = 5,
  kBadInputFile = 6,
};

// One maker for each exit code; `message` is one line, in words a user can act on, naming the file or flag.
absl::Status FailedError(std::string message);         // 1: this machine could not do it (disk full, internal)
absl::Status UsageError(std::string message);          // 2: wrong flags or arguments
absl::Status ConfigurationError(std::string message);  // 3: a configuration file or environment variable
absl::Status RefusedError(std::string message);        // 4: authentication, revocation, policy
absl::Status UnreachableError(std::string message);    // 5: a peer or port cannot be reached; worth a retry
absl::Status BadFileError(std::string message);        // 6: a model, adapter, record or other input file is bad
absl::Status NotFoundError(std::string message);       // 6 as well: the named input does not exist
absl::Status CancelledError(std::string message);      // 1: stopped by the user or by a deadline of ours

ExitCode ExitCodeOf(const absl::Status& status);

// The message as a standard string.
std::string Message(const absl::Status& status);

// The same error with "prefix: " before its message.
absl::Status Annotate(const absl::Status& status, std::string_view prefix);

// "path: No space left on device": an errno in words; ENOENT becomes NotFound, the others Failed.
absl::Status ErrnoError(std::string_view what, int error_number);

}  // namespace fedglm

#define FEDGLM_CONCAT_INNER(a, b) a##b
#define FEDGLM_CONCAT(a, b) FEDGLM_CONCAT_INNER(a, b)

#define FEDGLM_RETURN_IF_ERROR(expression)                                                    \
  do {                                                                                        \
    if (absl::Status fedglm_status = (expression); !fedglm_status.ok()) return fedglm_status; \
  } while (false)

#define FEDGLM_ASSIGN_OR_RETURN(declaration, expression) \
  FEDGLM_ASSIGN_OR_RETURN_IMPL(FEDGLM_CONCAT(fedglm_status_or_, __LINE__), declaration, expression)
#define FEDGLM_ASSIGN_OR_RETURN_IMPL(temporary, declaration, expression) \
  auto temporary = (expression);                                         \
  if (!temporary.ok()) return temporary.status();                        \
  declaration = std::move(temporary).value()
