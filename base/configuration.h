// Configuration from TOML with one order of precedence: flag > environment FEDGLM_* > file > default.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fedglm {

// Reads values by dotted key ("server.listen") and remembers which were asked for. Not thread-safe.
//
//   FEDGLM_ASSIGN_OR_RETURN(Configuration configuration, Configuration::Load(path));
//   FEDGLM_ASSIGN_OR_RETURN(options.listen, configuration.String("server.listen", "127.0.0.1:7443"));
//   FEDGLM_RETURN_IF_ERROR(configuration.Finish());      // an unknown key is an error with its line
//
// "server.listen" is overridden by the environment variable FEDGLM_SERVER_LISTEN, and that by Override().
class Configuration {
 public:
  static absl::StatusOr<Configuration> Load(const std::filesystem::path& path);
  static absl::StatusOr<Configuration> Parse(std::string_view toml, std::string_view source_name);
  Configuration(Configuration&&) noexcept;
  Configuration& operator=(Configuration&&) noexcept;
  ~Configuration();

  // From a flag; `value` is text, converted as the environment's is.
  void Override(std::string_view key, std::string value);

  // ConfigurationError with the file and line if the value has another type or does not parse.
  absl::StatusOr<std::string> String(std::string_view key, std::string fallback);
  absl::StatusOr<std::string> RequiredString(std::string_view key);
  absl::StatusOr<int64_t> Integer(std::string_view key, int64_t fallback, int64_t minimum, int64_t maximum);
  absl::StatusOr<double> Number(std::string_view key, double fallback, double minimum, double maximum);
  absl::StatusOr<bool> Bool(std::string_view key, bool fallback);
  absl::StatusOr<std::vector<std::string>> Strings(std::string_view key, std::vector<std::string> fallback);
  // A relative path is relative to the configuration file's folder.
  absl::StatusOr<std::filesystem::path> Path(std::string_view key, std::filesystem::path fallback);
  absl::StatusOr<std::vector<std::filesystem::path>> Paths(std::string_view key);  // an array; empty if it is not there
  // How many tables [[key]] there are; the keys of each are "key[0].name", "key[1].name" … 0 if there is none.
  absl::StatusOr<size_t> TableCount(std::string_view key);

  // Error with the line of the first key that nobody asked for.
  absl::Status Finish() const;

 private:
  struct State;
  std::filesystem::path Resolve(const std::filesystem::path& path) const;
  explicit Configuration(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// "4GiB", "512MiB", "1000" (bytes).
absl::StatusOr<uint64_t> ParseByteSize(std::string_view text);
std::string FormatByteSize(uint64_t bytes);  // "4.93 GiB"

}  // namespace fedglm
