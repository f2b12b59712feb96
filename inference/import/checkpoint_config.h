// What a Hugging Face checkpoint's config.json says, as the hyperparameters of a GGUF.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/status.h"
#include "inference/gguf/architecture.h"

namespace fedglm {

struct CheckpointConfig {
  // As ReadHyperparameters would read them from the file that is to be written.
  Hyperparameters hyperparameters;
  std::vector<int32_t> mrope_sections;  // of rope.dimension_sections, four; empty: none
  std::vector<float> rotary_divisors;   // of rope_freqs.weight, [rotary_size / 2] (Llama 3); empty: none
  std::vector<int64_t> end_token_ids;   // eos_token_id of generation_config.json, else of config.json
  int64_t begin_token_id = -1;          // -1: none
};

// Reads config.json and, if there, generation_config.json. BadFile for a model_type that is none of the
// architecture table's, a key that is missing, of another type or out of range, rotary scaling other than linear and
// Llama 3's, an activation other than silu, attention over a sliding window.
absl::StatusOr<CheckpointConfig> ReadCheckpointConfig(const std::filesystem::path& folder);

}  // namespace fedglm
