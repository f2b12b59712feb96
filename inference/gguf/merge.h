// The base with an adapter added to its weights: a model file of its own.
#pragma once

#include <filesystem>
#include <optional>

#include "adapter/adapter.h"
#include "base/status.h"
#include "inference/gguf/gguf_file.h"
#include "inference/gguf/gguf_writer.h"
#include "inference/quantization/block_type.h"

namespace fedglm {

// W + scale B A for every matrix that the adapter has factors for, written in `type` (empty: as in the base); all else
// as it is. One row in memory at a time. UsageError if `out` is the base itself.
absl::Status MergeAdapter(const GgufFile& base, const Adapter& adapter, std::optional<BlockType> type,
                          const std::filesystem::path& out, const TensorProgress& progress);

}  // namespace fedglm
