// Logging: one line per event on stderr, or to a rotating file. Never prompts, records, tokens' text or secrets.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fedglm {

class Configuration;

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

struct LogOptions {
  std::string program;  // printed in each line
  LogLevel level = LogLevel::kInfo;
  std::filesystem::path file;  // empty: stderr
  bool json = false;           // one JSON object per line
};

// Once, from main(). Before it, lines go to stderr at level warning.
absl::Status InitializeLogging(const LogOptions& options);
absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name);
// The keys log.level (default info), log.file and log.json.
absl::StatusOr<LogOptions> ReadLogOptions(Configuration& configuration, std::string program);

void Log(LogLevel level, std::string_view message);
inline void LogDebug(std::string_view message) { Log(LogLevel::kDebug, message); }
inline void LogInfo(std::string_view message) { Log(LogLevel::kInfo, message); }
inline void LogWarning(std::string_view message) { Log(LogLevel::kWarning, message); }
inline void LogError(std::string_view message) { Log(LogLevel::kError, message); }

}  // namespace fedglm
