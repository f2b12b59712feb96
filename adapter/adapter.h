// The LoRA adapter: what travels between sites and aggregator. On disk it is a folder in PEFT's layout
// (adapter_config.json, adapter_model.safetensors) plus provenance.json. Rows are in Hugging Face's order.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace fedglm {

// Row-major float32.
struct Matrix {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<float> values;

  static Matrix Zero(int64_t rows, int64_t columns) {
    return {rows, columns, std::vector<float>(static_cast<size_t>(rows * columns), 0.0f)};
  }
  bool operator==(const Matrix&) const = default;
};

// y += scale * B (A x), with A: [rank][inputs], B: [outputs][rank].
struct LoraPair {
  Matrix a, b;
  bool operator==(const LoraPair&) const = default;
};

struct AdapterConfig {
  int64_t rank = 8;
  double alpha = 16;
  bool use_rslora = false;                  // scale = alpha / sqrt(rank) instead of alpha / rank
  std::vector<std::string> target_modules;  // "q_proj", …
  std::string base_model;                   // base_model_name_or_path

  double scale() const;
  bool operator==(const AdapterConfig&) const = default;
};

// Where an adapter comes from; provenance.json. docs/adapter-format.md describes the file.
struct Provenance {
  std::string base_sha256;  // of the GGUF file; empty: unknown (an adapter from elsewhere)
  std::string federation;   // empty: trained alone
  int64_t round = 0;
  std::string mode;                       // freeze-a, average, stack, fedsgd
  std::vector<std::string> contributors;  // SHA-256 of each update that was averaged
  std::string weights_sha256;             // of adapter_model.safetensors
  std::string signature;                  // base64url Ed25519 over SignedBytes(); empty: unsigned
  bool operator==(const Provenance&) const = default;
};

struct Adapter {
  AdapterConfig config;
  std::map<std::string, LoraPair> modules;  // by PEFT module name: "model.layers.0.self_attn.q_proj"
  std::optional<Provenance> provenance;
};

// BadFile for anything malformed, a shape that contradicts the rank, or a value that is not finite; NotFound if absent.
absl::StatusOr<Adapter> LoadAdapter(const std::filesystem::path& folder);
// Failed if something is there that is no adapter, which SaveAdapter would not replace. To be asked before long work.
absl::Status CheckReplaceable(const std::filesystem::path& folder);
// Writes the folder atomically (replacing an adapter, nothing else). weights_sha256 is filled in; other provenance
// kept.
absl::Status SaveAdapter(const Adapter& adapter, const std::filesystem::path& folder);

// The same as bytes, for the wire: safetensors with the configuration in its metadata.
std::string SerializeAdapter(const Adapter& adapter);
absl::StatusOr<Adapter> ParseAdapter(std::string_view bytes);

// SHA-256 of the adapter_model.safetensors that SaveAdapter would write.
std::string WeightsSha256(const Adapter& adapter);

// What the aggregator signs and the site verifies: a canonical text of the provenance without its signature, and of
// what scales the weights (rank, alpha, rslora).
std::string SignedBytes(const AdapterConfig& config, const Provenance& provenance);

// BadFile if the adapter names another base. An adapter without provenance, or an unknown base (""), passes.
absl::Status CheckBase(const Adapter& adapter, const std::string& base_sha256);

// A for every module from a seed that all sites share, uniform in ±sqrt(3 / inputs) so that A x has the scale of x; B
// zero. The same bytes on every machine: a counter-based generator, no library's distributions. docs/adapter-format.md.
struct ModuleShape {
  std::string name;
  int64_t inputs, outputs;
};
Adapter MakeSeededAdapter(const AdapterConfig& config, const std::vector<ModuleShape>& modules, uint64_t seed);

}  // namespace fedglm
