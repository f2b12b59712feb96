#include "base/log.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "base/configuration.h"
#include "base/json.h"

namespace fedglm {
namespace {

constexpr size_t kMaxLogBytes = 10 << 20;
constexpr size_t kMaxLogFiles = 3;

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

bool json_lines = false;  // set once by InitializeLogging, before threads start

std::shared_ptr<spdlog::logger> MakeDefault() {
  auto logger = std::make_shared<spdlog::logger>("fedglm", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::warn);
  return logger;
}

std::shared_ptr<spdlog::logger>& Logger() {
  static std::shared_ptr<spdlog::logger> logger = MakeDefault();
  return logger;
}

}  // namespace

absl::Status InitializeLogging(const LogOptions& options) {
  try {
    spdlog::sink_ptr sink;
    if (options.file.empty()) {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
      sink = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(options.file.string(), kMaxLogBytes, kMaxLogFiles);
    }
    auto logger = std::make_shared<spdlog::logger>(options.program, std::move(sink));
    logger->set_level(ToSpdlog(options.level));
    logger->flush_on(spdlog::level::debug);
    json_lines = options.json;
    logger->set_pattern(options.json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","program":"%n","level":"%l","message":%v})"
                                     : "%Y-%m-%dT%H:%M:%S.%eZ %n %L %v",
                        spdlog::pattern_time_type::utc);
    Logger() = std::move(logger);
  } catch (const spdlog::spdlog_ex& error) {
    return FailedError(options.file.string() + ": " + error.what());
  }
  return absl::OkStatus();
}

absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "info") return LogLevel::kInfo;
  if (name == "warning") return LogLevel::kWarning;
  if (name == "error") return LogLevel::kError;
  if (name == "off") return LogLevel::kOff;
  return ConfigurationError("'" + std::string(name) + "' is not a log level: debug, info, warning, error or off");
}

void Log(LogLevel level, std::string_view message) {
  spdlog::logger& logger = *Logger();
  if (!logger.should_log(ToSpdlog(level))) return;
  // One event is one line, whatever a peer put into it.
  std::string line(message);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  logger.log(ToSpdlog(level), "{}", json_lines ? DumpJson(Json(line)) : line);
}

absl::StatusOr<LogOptions> ReadLogOptions(Configuration& configuration, std::string program) {
  LogOptions options;
  options.program = std::move(program);
  FEDGLM_ASSIGN_OR_RETURN(const std::string level, configuration.String("log.level", "info"));
  const absl::StatusOr<LogLevel> parsed = ParseLogLevel(level);
  if (!parsed.ok()) return ConfigurationError("log.level: " + Message(parsed.status()));
  options.level = *parsed;
  FEDGLM_ASSIGN_OR_RETURN(options.file, configuration.Path("log.file", ""));
  FEDGLM_ASSIGN_OR_RETURN(options.json, configuration.Bool("log.json", false));
  return options;
}

}  // namespace fedglm
