// Model files of random weights in the shape of known models: for measuring speed and memory, where what the weights
// say does not matter, and what they weigh does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_writer.h"
#include "inference/quantization/block_type.h"

namespace fedglm::bench {

// "glm4-9b" (the text model of Open-AutoGLM), "glm4-tiny", "llama3.2-1b", "smollm2-135m".
std::vector<std::string> KnownShapes();
// UsageError for an unknown name. The hyperparameters are those of the published model.
absl::StatusOr<Hyperparameters> ShapeOf(std::string_view name);

struct RandomModelOptions {
  Hyperparameters shape;
  BlockType type = BlockType::kQ4_0;         // of all matrices; F16 where its blocks do not divide a row
  BlockType output_type = BlockType::kQ4_0;  // of the output head, if it is not the token embedding
  uint64_t seed = 1;
};

// Writes the file and returns its size. Weights are scaled so that activations keep their size through all layers; the
// vocabulary is byte-level BPE (every pair of bytes, then triples) that fedglm and llama.cpp both read. Memory: a few
// MB. UsageError for a type that cannot be written; the first error of `progress`.
absl::StatusOr<uint64_t> WriteRandomModel(const RandomModelOptions& options, const std::filesystem::path& path,
                                          const TensorProgress& progress);

}  // namespace fedglm::bench
