#include "inference/autotune/tuning_cache.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"

namespace fedglm {
namespace {

constexpr int kFormat = 1;
// Of the kernels that were measured: to be raised when a change of theirs may change what is fastest.
constexpr int kKernelGeneration = 1;
constexpr uint64_t kMostBytes = 4096;
constexpr int64_t kMostChunk = 4096;

Json KeyJson(const TuningKey& key) {
  return {{"version", kFormat},           {"kernels", kKernelGeneration}, {"cpu", key.cpu},
          {"cores", key.cores},           {"processors", key.processors}, {"instruction_set", key.instruction_set},
          {"block_type", key.block_type}, {"hidden", key.hidden}};
}

absl::StatusOr<int64_t> RequireWithin(const Json& entry, std::string_view name, int64_t most) {
  FEDGLM_ASSIGN_OR_RETURN(const int64_t value, RequireInteger(entry, name));
  if (value >= 1 && value <= most) return value;
  return BadFileError(std::string(name) + " is " + std::to_string(value) + ", not 1 to " + std::to_string(most));
}

absl::StatusOr<Tuning> ParseTuning(const std::string& text, const TuningKey& key) {
  FEDGLM_ASSIGN_OR_RETURN(const Json entry, ParseJson(text, "a kept tuning"));
  if (!entry.is_object()) return BadFileError("not an object");
  const Json wanted = KeyJson(key);
  for (const auto& [name, value] : wanted.items()) {
    const auto found = entry.find(name);
    if (found == entry.end() || *found != value) return BadFileError("made for another " + name);
  }
  Tuning tuning;
  FEDGLM_ASSIGN_OR_RETURN(const int64_t decode, RequireWithin(entry, "decode_threads", key.processors));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t prefill, RequireWithin(entry, "prefill_threads", key.processors));
  FEDGLM_ASSIGN_OR_RETURN(tuning.prefill_chunk, RequireWithin(entry, "prefill_chunk", kMostChunk));
  tuning.decode_threads = static_cast<int>(decode);
  tuning.prefill_threads = static_cast<int>(prefill);
  return tuning;
}

}  // namespace

std::filesystem::path TuningFile(const std::filesystem::path& folder, const TuningKey& key) {
  return folder / (Sha256Hex(DumpJson(KeyJson(key))).substr(0, 32) + ".json");
}

absl::StatusOr<Tuning> ReadTuning(const std::filesystem::path& folder, const TuningKey& key) {
  const std::filesystem::path file = TuningFile(folder, key);
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMostBytes));
  absl::StatusOr<Tuning> tuning = ParseTuning(text, key);
  if (!tuning.ok()) return Annotate(tuning.status(), file.string());
  return tuning;
}

absl::Status WriteTuning(const std::filesystem::path& folder, const TuningKey& key, const Tuning& tuning) {
  Json entry = KeyJson(key);
  entry["decode_threads"] = tuning.decode_threads;
  entry["prefill_threads"] = tuning.prefill_threads;
  entry["prefill_chunk"] = tuning.prefill_chunk;
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  return WriteFileAtomically(TuningFile(folder, key), DumpJson(entry, 2) + "\n", 0600);
}

}  // namespace fedglm
