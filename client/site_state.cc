#include "client/site_state.h"

#include <optional>

#include "base/file.h"
#include "base/json.h"

namespace fedglm {
namespace {

constexpr char kInstalled[] = "installed.json";
constexpr char kProgress[] = "progress.json";

// nullopt if the file is not there yet.
absl::StatusOr<std::optional<Json>> ReadState(const std::filesystem::path& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, 1 << 16);
  if (text.status().code() == absl::StatusCode::kNotFound) return std::optional<Json>();
  if (!text.ok()) return text.status();
  FEDGLM_ASSIGN_OR_RETURN(Json json, ParseJson(*text, path.string()));
  return std::optional<Json>(std::move(json));
}

absl::Status WriteState(const Json& json, const std::filesystem::path& path) {
  return WriteFileAtomically(path, DumpJson(json, 2) + "\n", 0600);
}

}  // namespace

absl::StatusOr<InstalledRound> ReadInstalled(const std::filesystem::path& state_dir) {
  InstalledRound installed;
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<Json> json, ReadState(state_dir / kInstalled));
  if (!json) return installed;
  FEDGLM_ASSIGN_OR_RETURN(installed.round, RequireInteger(*json, "round"));
  FEDGLM_ASSIGN_OR_RETURN(installed.sha256, RequireString(*json, "sha256"));
  return installed;
}

absl::Status WriteInstalled(const InstalledRound& installed, const std::filesystem::path& state_dir) {
  return WriteState({{"version", 1}, {"round", installed.round}, {"sha256", installed.sha256}}, state_dir / kInstalled);
}

absl::StatusOr<TrainingProgress> ReadProgress(const std::filesystem::path& state_dir) {
  TrainingProgress progress;
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<Json> json, ReadState(state_dir / kProgress));
  if (!json) return progress;
  FEDGLM_ASSIGN_OR_RETURN(progress.round, RequireInteger(*json, "round"));
  FEDGLM_ASSIGN_OR_RETURN(progress.examples_before, RequireInteger(*json, "examples_before"));
  FEDGLM_ASSIGN_OR_RETURN(progress.examples_after, RequireInteger(*json, "examples_after"));
  return progress;
}

absl::Status WriteProgress(const TrainingProgress& progress, const std::filesystem::path& state_dir) {
  return WriteState({{"version", 1},
                     {"round", progress.round},
                     {"examples_before", progress.examples_before},
                     {"examples_after", progress.examples_after}},
                    state_dir / kProgress);
}

}  // namespace fedglm
