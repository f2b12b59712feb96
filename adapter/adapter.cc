#include "adapter/adapter.h"

#include <sys/stat.h>

#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "adapter/adapter_bytes.h"
#include "adapter/peft.h"
#include "adapter/provenance.h"
#include "adapter/safetensors.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"

namespace fedglm {
namespace {

constexpr uint64_t kMaxWeightsBytes = uint64_t{8} << 30;
constexpr uint64_t kMaxJsonBytes = 4 << 20;
constexpr char kWeights[] = "adapter_model.safetensors";
constexpr char kConfig[] = "adapter_config.json";
constexpr char kProvenance[] = "provenance.json";

// adapter_model.safetensors
absl::Status WriteWeights(const Adapter& adapter, const ByteSink& sink) {
  return WriteSafetensors(ModulesToPeft(adapter), {{"format", "pt"}}, sink);
}

template <typename Write>
std::string InMemory(const Write& write) {
  std::string out;
  size_t size = 0;
  // The first time it is only counted: a string that grows is there twice meanwhile. Neither refuses anything.
  (void)write([&size](std::string_view bytes) {
    size += bytes.size();
    return absl::OkStatus();
  });
  out.reserve(size);
  (void)write([&out](std::string_view bytes) {
    out += bytes;
    return absl::OkStatus();
  });
  return out;
}

}  // namespace

// Saving replaces the whole folder: only an adapter or an empty folder may be lost by it.
absl::Status CheckReplaceable(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder, error) || std::filesystem::is_empty(folder, error) ||
      std::filesystem::exists(folder / kConfig, error)) {
    return absl::OkStatus();
  }
  return FailedError(folder.string() + ": is there and is no adapter, so it is not replaced by one");
}

double AdapterConfig::scale() const {
  return use_rslora ? alpha / std::sqrt(static_cast<double>(rank)) : alpha / static_cast<double>(rank);
}

namespace {

absl::StatusOr<Adapter> LoadFiles(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder / kConfig, error)) {
    return NotFoundError(folder.string() + ": no adapter there (" + kConfig + " is missing)");
  }
  FEDGLM_ASSIGN_OR_RETURN(const std::string config_text, ReadFile(folder / kConfig, kMaxJsonBytes));
  FEDGLM_ASSIGN_OR_RETURN(const Json config, ParseJson(config_text, (folder / kConfig).string()));
  Adapter adapter;
  absl::StatusOr<AdapterConfig> parsed = PeftConfigFromJson(config);
  if (!parsed.ok()) return Annotate(parsed.status(), (folder / kConfig).string());
  adapter.config = *std::move(parsed);
  const std::string weights_name = (folder / kWeights).string();
  FEDGLM_ASSIGN_OR_RETURN(const std::string weights, ReadFile(folder / kWeights, kMaxWeightsBytes));
  FEDGLM_ASSIGN_OR_RETURN(SafetensorsFile file, ParseSafetensors(weights, weights_name));
  FEDGLM_RETURN_IF_ERROR(Annotate(ModulesFromPeft(std::move(file.tensors), adapter), weights_name));
  if (std::filesystem::exists(folder / kProvenance, error)) {
    const std::string name = (folder / kProvenance).string();
    FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / kProvenance, kMaxJsonBytes));
    FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(text, name));
    absl::StatusOr<Provenance> provenance = ProvenanceFromJson(json);
    if (!provenance.ok()) return Annotate(provenance.status(), name);
    if (!provenance->weights_sha256.empty() && provenance->weights_sha256 != Sha256Hex(weights)) {
      return BadFileError(weights_name + ": is not the file that provenance.json describes");
    }
    adapter.provenance = *std::move(provenance);
  }
  return adapter;
}

// Which folder has this name now, and since when: a number is given again to the next folder.
std::array<int64_t, 3> IdentityOf(const std::filesystem::path& folder) {
  struct stat facts;
  if (stat(folder.c_str(), &facts) != 0) return {};
  return {static_cast<int64_t>(facts.st_ino), facts.st_ctim.tv_sec, facts.st_ctim.tv_nsec};
}

}  // namespace

absl::StatusOr<Adapter> LoadAdapter(const std::filesystem::path& folder) {
  // Another folder may take the name between two files (SaveAdapter): what was read then are halves of two adapters.
  absl::StatusOr<Adapter> adapter = CancelledError("");
  for (int tries = 0; tries < 10; ++tries) {
    const std::array<int64_t, 3> before = IdentityOf(folder);
    adapter = LoadFiles(folder);
    if (IdentityOf(folder) == before) break;
  }
  return adapter;
}

absl::Status SaveAdapter(const Adapter& adapter, const std::filesystem::path& folder) {
  const std::filesystem::path target = folder.has_filename() ? folder : folder.parent_path();
  FEDGLM_RETURN_IF_ERROR(CheckReplaceable(target));
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(target.parent_path()));
  const std::filesystem::path part =
      target.string() + "." + HexEncode(std::span(reinterpret_cast<const uint8_t*>(SecureRandomBytes(4).data()), 4));
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(part));
  const auto write = [&]() -> absl::Status {
    const std::string weights = InMemory([&](const ByteSink& sink) { return WriteWeights(adapter, sink); });
    FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(part / kWeights, weights));
    FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(part / kConfig, DumpJson(PeftConfigToJson(adapter.config), 2) + "\n"));
    if (adapter.provenance) {
      Provenance provenance = *adapter.provenance;
      provenance.weights_sha256 = Sha256Hex(weights);
      FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(part / kProvenance, DumpJson(ProvenanceToJson(provenance), 2) + "\n"));
    }
    return ReplaceDirectory(part, target);
  };
  const absl::Status status = write();
  std::error_code ignored;
  if (!status.ok()) std::filesystem::remove_all(part, ignored);
  return status;
}

absl::Status WriteAdapter(const Adapter& adapter, const ByteSink& sink) {
  std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                 {"fedglm.config", DumpJson(PeftConfigToJson(adapter.config))}};
  if (adapter.provenance) metadata["fedglm.provenance"] = DumpJson(ProvenanceToJson(*adapter.provenance));
  return WriteSafetensors(ModulesToPeft(adapter), metadata, sink);
}

std::string SerializeAdapter(const Adapter& adapter) {
  return InMemory([&](const ByteSink& sink) { return WriteAdapter(adapter, sink); });
}

absl::StatusOr<Adapter> ParseAdapter(std::string_view bytes) {
  FEDGLM_ASSIGN_OR_RETURN(SafetensorsFile file, ParseSafetensors(bytes, "adapter"));
  const auto config = file.metadata.find("fedglm.config");
  if (config == file.metadata.end()) return BadFileError("adapter: it has no configuration");
  FEDGLM_ASSIGN_OR_RETURN(const Json config_json, ParseJson(config->second, "adapter configuration"));
  Adapter adapter;
  FEDGLM_ASSIGN_OR_RETURN(adapter.config, PeftConfigFromJson(config_json));
  FEDGLM_RETURN_IF_ERROR(ModulesFromPeft(std::move(file.tensors), adapter));
  if (const auto text = file.metadata.find("fedglm.provenance"); text != file.metadata.end()) {
    FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(text->second, "adapter provenance"));
    FEDGLM_ASSIGN_OR_RETURN(adapter.provenance, ProvenanceFromJson(json));
  }
  return adapter;
}

std::string WeightsSha256(const Adapter& adapter) {
  Sha256 hash;
  const absl::Status hashed = WriteWeights(adapter, [&hash](std::string_view bytes) {
    hash.Update(bytes);
    return absl::OkStatus();
  });
  (void)hashed;  // a digest takes everything
  return HexEncode(hash.Finish());
}

absl::Status CheckBase(const Adapter& adapter, const std::string& base_sha256) {
  if (!adapter.provenance || adapter.provenance->base_sha256.empty() || base_sha256.empty() ||
      adapter.provenance->base_sha256 == base_sha256) {
    return absl::OkStatus();
  }
  return BadFileError("the adapter is for another base (its base is " + adapter.provenance->base_sha256.substr(0, 12) +
                      "…, this one is " + base_sha256.substr(0, 12) + "…)");
}

}  // namespace fedglm
