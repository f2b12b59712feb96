// Rewrites a GGUF model with its matrices in another block type, one tensor in memory at a time.
#pragma once

#include <filesystem>

#include "base/status.h"
#include "inference/gguf/gguf_file.h"
#include "inference/gguf/gguf_writer.h"

namespace fedglm {

// Matrices become `type`; norms, biases and other vectors stay float32. The token embedding and the output head stay at
// Q8_0 at least: they are few and errors there are seen in every token. A row that the blocks of `type` do not divide
// becomes F16. Returns the new file's bytes. UsageError if `type` cannot be written, or IN and OUT are one file.
absl::StatusOr<uint64_t> QuantizeFile(const GgufFile& in, const std::filesystem::path& out, BlockType type, int threads,
                                      const TensorProgress& progress);

}  // namespace fedglm
