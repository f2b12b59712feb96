#include "adapter/provenance.h"
#include "base/json.h"

#include <cstdio>

namespace fedglm {
namespace {

// Digests stand bare in SignedBytes(): what could end a line there is none.
absl::Status CheckDigest(const char* key, const std::string& digest) {
  for (const char c : digest) {
    if (static_cast<unsigned char>(c) <= ' ') return BadFileError(std::string("\"") + key + "\" is no digest");
  }
  return absl::OkStatus();
}

}  // namespace

Json ProvenanceToJson(const Provenance& p) {
  return {{"version", 1},
          {"base_sha256", p.base_sha256},
          {"federation", p.federation},
          {"round", p.round},
          {"mode", p.mode},
          {"contributors", p.contributors},
          {"weights_sha256", p.weights_sha256},
          {"signature", p.signature}};
}

absl::StatusOr<Provenance> ProvenanceFromJson(const Json& json) {
  FEDGLM_ASSIGN_OR_RETURN(const int64_t version, RequireInteger(json, "version"));
  if (version != 1) return BadFileError("provenance of version " + std::to_string(version) + " is not supported");
  Provenance p;
  FEDGLM_ASSIGN_OR_RETURN(p.base_sha256, OptionalString(json, "base_sha256", ""));
  FEDGLM_ASSIGN_OR_RETURN(p.federation, OptionalString(json, "federation", ""));
  FEDGLM_ASSIGN_OR_RETURN(p.round, OptionalInteger(json, "round", 0));
  FEDGLM_ASSIGN_OR_RETURN(p.mode, OptionalString(json, "mode", ""));
  FEDGLM_ASSIGN_OR_RETURN(p.weights_sha256, OptionalString(json, "weights_sha256", ""));
  FEDGLM_ASSIGN_OR_RETURN(p.signature, OptionalString(json, "signature", ""));
  FEDGLM_RETURN_IF_ERROR(CheckDigest("base_sha256", p.base_sha256));
  FEDGLM_RETURN_IF_ERROR(CheckDigest("weights_sha256", p.weights_sha256));
  if (const auto contributors = json.find("contributors"); contributors != json.end()) {
    if (!contributors->is_array()) return BadFileError("\"contributors\" must be an array of strings");
    for (const Json& digest : *contributors) {
      if (!digest.is_string()) return BadFileError("\"contributors\" must be an array of strings");
      p.contributors.push_back(digest.get<std::string>());
    }
  }
  return p;
}

// One field a line, so that no two provenances have the same text: values are digests, numbers and JSON strings.
std::string SignedBytes(const AdapterConfig& config, const Provenance& p) {
  char scale[96];
  std::snprintf(scale, sizeof(scale), "rank %lld\nalpha %.17g\nrslora %d\n", static_cast<long long>(config.rank),
                config.alpha, config.use_rslora ? 1 : 0);
  std::string text = "fedglm adapter provenance 1\n";
  text += scale;
  text += "base " + p.base_sha256 + "\n";
  text += "federation " + DumpJson(Json(p.federation)) + "\n";
  text += "round " + std::to_string(p.round) + "\n";
  text += "mode " + DumpJson(Json(p.mode)) + "\n";
  for (const std::string& contributor : p.contributors) text += "contributor " + DumpJson(Json(contributor)) + "\n";
  text += "weights " + p.weights_sha256 + "\n";
  return text;
}

}  // namespace fedglm
