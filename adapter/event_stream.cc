#include "adapter/event_stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/json.h"
#include "base/log.h"

namespace fedglm {
namespace {

constexpr size_t kMostLogged = 80;

// What a process may have written there are bytes of any kind.
std::string Printable(std::string_view line) {
  std::string text(line.substr(0, kMostLogged));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return text.size() < line.size() ? text + "…" : text;
}

}  // namespace

EventWriter::EventWriter(int descriptor) : descriptor_(descriptor) { (void)fcntl(descriptor, F_SETFD, FD_CLOEXEC); }

void EventWriter::Write(const TrainerEvent& event) const {
  const std::string line = DumpJson(ToJson(event)) + "\n";
  for (std::string_view left = line; !left.empty();) {
    const ssize_t written = write(descriptor_, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return;
    left.remove_prefix(static_cast<size_t>(written));
  }
}

std::optional<TrainerEvent> EventReader::Read(std::string_view line) {
  absl::StatusOr<TrainerEvent> event = ParseTrainerEvent(line);
  if (event.ok()) return *std::move(event);
  if (!has_logged_) {
    LogWarning(writer_ + " wrote a line of " + std::to_string(line.size()) +
               " bytes that is no event; such lines are skipped: " + Printable(line));
  }
  has_logged_ = true;
  return std::nullopt;
}

TrainerEvent FailedEvent(const absl::Status& error) {
  TrainerEvent failed;
  failed.event = "failed";
  failed.exit_code = static_cast<int>(ExitCodeOf(error));
  failed.message = Message(error);
  return failed;
}

absl::Status ErrorOf(const TrainerEvent& failed) {
  switch (static_cast<ExitCode>(failed.exit_code)) {
    case ExitCode::kUsage:
      return UsageError(failed.message);
    case ExitCode::kConfiguration:
      return ConfigurationError(failed.message);
    case ExitCode::kRefused:
      return RefusedError(failed.message);
    case ExitCode::kUnreachable:
      return UnreachableError(failed.message);
    case ExitCode::kBadInputFile:
      return BadFileError(failed.message);
    default:
      return FailedError(failed.message);
  }
}

}  // namespace fedglm
