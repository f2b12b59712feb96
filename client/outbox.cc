#include "client/outbox.h"

#include <algorithm>
#include <tuple>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

namespace fedglm {
namespace {

Json ToJson(const OutboxEntry& entry) {
  return {{"version", 1},
          {"update_id", entry.update_id},
          {"round", entry.round},
          {"base_sha256", entry.base_sha256},
          {"adapter_sha256", entry.adapter_sha256},
          {"mode", entry.mode},
          {"examples", entry.examples},
          {"training_loss", entry.training_loss},
          {"sha256", entry.sha256},
          {"bytes", entry.bytes}};
}

absl::StatusOr<OutboxEntry> ReadEntry(const std::filesystem::path& path) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 16));
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(text, path.string()));
  OutboxEntry entry;
  FEDGLM_ASSIGN_OR_RETURN(entry.update_id, RequireString(json, "update_id"));
  FEDGLM_ASSIGN_OR_RETURN(entry.round, RequireInteger(json, "round"));
  FEDGLM_ASSIGN_OR_RETURN(entry.base_sha256, RequireString(json, "base_sha256"));
  FEDGLM_ASSIGN_OR_RETURN(entry.adapter_sha256, RequireString(json, "adapter_sha256"));
  FEDGLM_ASSIGN_OR_RETURN(entry.mode, RequireString(json, "mode"));
  FEDGLM_ASSIGN_OR_RETURN(entry.examples, RequireInteger(json, "examples"));
  FEDGLM_ASSIGN_OR_RETURN(entry.training_loss, RequireNumber(json, "training_loss"));
  FEDGLM_ASSIGN_OR_RETURN(entry.sha256, RequireString(json, "sha256"));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t bytes, RequireInteger(json, "bytes"));
  entry.bytes = static_cast<uint64_t>(bytes);
  return entry;
}

// The id comes from the aggregator and becomes a file's name.
absl::Status CheckUpdateId(const std::string& update_id) {
  if (IsLowerHex(update_id) && update_id.size() <= 64) return absl::OkStatus();
  return RefusedError("the aggregator sent an update id that is none");
}

// Bytes without an entry, and files that were being written: the process was killed meanwhile.
absl::Status RemoveRemnants(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> remnants;
  std::error_code error;
  for (std::filesystem::directory_iterator file(folder, error), end; !error && file != end; file.increment(error)) {
    const std::filesystem::path& path = file->path();
    std::error_code ignored;
    const bool entry = path.extension() == ".json";
    const bool bytes = path.extension() == ".update" &&
                       std::filesystem::exists(std::filesystem::path(path).replace_extension(".json"), ignored);
    if (!entry && !bytes) remnants.push_back(path);
  }
  for (const std::filesystem::path& path : remnants) {
    if (!error) std::filesystem::remove(path, error);
  }
  return error ? FailedError(folder.string() + ": " + error.message()) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<Outbox> Outbox::Open(const std::filesystem::path& folder) {
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  FEDGLM_RETURN_IF_ERROR(RemoveRemnants(folder));
  return Outbox(folder);
}

absl::Status Outbox::Put(OutboxEntry entry, std::string_view payload) {
  FEDGLM_RETURN_IF_ERROR(CheckUpdateId(entry.update_id));
  entry.sha256 = Sha256Hex(payload);
  entry.bytes = payload.size();
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder_ / (entry.update_id + ".update"), payload, 0600));
  return WriteFileAtomically(folder_ / (entry.update_id + ".json"), DumpJson(ToJson(entry), 2) + "\n", 0600);
}

absl::StatusOr<std::optional<OutboxEntry>> Outbox::Find(const std::string& update_id) const {
  FEDGLM_RETURN_IF_ERROR(CheckUpdateId(update_id));
  const std::filesystem::path path = folder_ / (update_id + ".json");
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::optional<OutboxEntry>();
  absl::StatusOr<OutboxEntry> entry = ReadEntry(path);
  if (ExitCodeOf(entry.status()) == ExitCode::kBadInputFile) return std::optional<OutboxEntry>();
  if (!entry.ok()) return entry.status();
  return std::optional<OutboxEntry>(*std::move(entry));
}

absl::StatusOr<std::vector<OutboxEntry>> Outbox::Waiting() const {
  std::vector<OutboxEntry> entries;
  std::error_code error;
  for (std::filesystem::directory_iterator file(folder_, error), end; !error && file != end; file.increment(error)) {
    if (file->path().extension() != ".json") continue;
    absl::StatusOr<OutboxEntry> entry = ReadEntry(file->path());
    if (entry.ok()) {
      entries.push_back(*std::move(entry));
      continue;
    }
    if (ExitCodeOf(entry.status()) != ExitCode::kBadInputFile) return entry.status();
    // Lost with whatever damaged it, and nothing to stand in the way of those that come after it.
    LogWarning(Message(entry.status()) + "; this update is not sent");
    std::error_code ignored;
    std::filesystem::remove(file->path(), ignored);
  }
  if (error) return FailedError(folder_.string() + ": " + error.message());
  std::sort(entries.begin(), entries.end(), [](const OutboxEntry& a, const OutboxEntry& b) {
    return std::tie(a.round, a.update_id) < std::tie(b.round, b.update_id);
  });
  return entries;
}

absl::StatusOr<std::string> Outbox::ReadPayload(const OutboxEntry& entry) const {
  const std::filesystem::path path = folder_ / (entry.update_id + ".update");
  FEDGLM_ASSIGN_OR_RETURN(std::string payload, ReadFile(path, uint64_t{1} << 34));
  if (Sha256Hex(payload) != entry.sha256) return FailedError(path.string() + ": its content has changed");
  return payload;
}

absl::Status Outbox::Remove(const std::string& update_id) {
  FEDGLM_RETURN_IF_ERROR(CheckUpdateId(update_id));
  // The entry first: bytes without one are never sent.
  for (const char* extension : {".json", ".update"}) {
    std::error_code error;
    std::filesystem::remove(folder_ / (update_id + extension), error);
    if (error) return FailedError((folder_ / update_id).string() + ": " + error.message());
  }
  return absl::OkStatus();
}

}  // namespace fedglm
