// Rewrites a GGUF model with its matrices in other block types, a few megabytes in memory at a time.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "inference/gguf/gguf_file.h"
#include "inference/gguf/gguf_writer.h"
#include "inference/gguf/quantization_mix.h"
#include "inference/quantization/input_moments.h"

namespace fedglm {

// By GGUF's name of a matrix, of its inputs. Matrices with the same input share them.
using MomentsByTensor = std::map<std::string, std::shared_ptr<const InputMoments>>;

struct QuantizeOptions {
  QuantizationMix mix;
  const MomentsByTensor* moments = nullptr;  // nullptr: all columns alike
  int threads = 0;                           // 0: UsablePhysicalCores()
};

struct QuantizeReport {
  uint64_t bytes = 0;                    // of the new file
  int64_t weights = 0;                   // of all tensors
  std::map<BlockType, int64_t> tensors;  // how many have each type
};

// Tensors get the types of the mix; those that have theirs already are copied as they are. Metadata is kept, but for
// general.file_type and general.quantization_version, which are set. `progress` is called after every few megabytes,
// with the tensors that are done. UsageError if IN and OUT are one file, or moments have other columns than their
// tensor; BadFile for weights that are not finite; Failed if it cannot be written. After an error nothing is
// left at `out` but what was there before.
absl::StatusOr<QuantizeReport> QuantizeFile(const GgufFile& in, const std::filesystem::path& out,
                                            const QuantizeOptions& options, const TensorProgress& progress);

}  // namespace fedglm
