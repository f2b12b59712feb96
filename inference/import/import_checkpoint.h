// A Hugging Face checkpoint folder, made into one GGUF model: config.json, tokenizer.json and what goes with them,
// and the safetensors shards. Without Python.
#pragma once

#include <filesystem>
#include <optional>

#include "base/status.h"
#include "inference/gguf/gguf_writer.h"
#include "inference/gguf/quantization_mix.h"
#include "inference/gguf/quantize_file.h"

namespace fedglm {

struct ImportOptions {
  std::optional<QuantizationMix> mix;  // nullopt: matrices stay as they are in the checkpoint, vectors are float32
  int threads = 0;                     // 0: UsablePhysicalCores()
};

// Everything is checked before a byte is written: what the configuration says against every tensor's name, shape and
// bytes, the vocabulary against itself and the embedding. A few megabytes are in memory at a time, beside the
// vocabulary. Errors as of ReadCheckpointConfig, ReadCheckpointVocabulary, SafetensorsShards::Open and PlanTensors;
// BadFile for weights that are not finite; Failed if it cannot be written. After an error nothing is left at `out`
// but what was there before.
absl::StatusOr<QuantizeReport> ImportCheckpoint(const std::filesystem::path& folder, const std::filesystem::path& out,
                                                const ImportOptions& options, const TensorProgress& progress);

}  // namespace fedglm
