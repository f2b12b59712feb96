// Encoding and decoding of rows of blocks: the scalar reference for every kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"
#include "inference/quantization/block_type.h"

namespace fedglm {

// Decodes `columns` weights from `blocks` to float32. Bit-exact with ggml's dequantize_row_*.
void DecodeRow(BlockType type, const std::byte* blocks, float* weights, int64_t columns);

// True for the types that EncodeRow can write.
bool CanEncode(BlockType type);

// Encodes `columns` float32 weights (ggml's quantize_row_*_ref rules). UsageError if !CanEncode(type).
absl::Status EncodeRow(BlockType type, const float* weights, std::byte* blocks, int64_t columns);

}  // namespace fedglm
