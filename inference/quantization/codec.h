// Encoding and decoding of rows of blocks: the scalar reference for every kernel. docs/quantization.md explains the
// search.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"
#include "inference/quantization/block_type.h"

namespace fedglm {

// Decodes `columns` weights from `blocks` to float32. Bit-exact with ggml's dequantize_row_*.
void DecodeRow(BlockType type, const std::byte* blocks, float* weights, int64_t columns);

// True for the types that EncodeRow can write: all of them.
bool CanEncode(BlockType type);

// Encodes `columns` float32 weights so that sum of importance·(weight - decoded)² is small: a weighted least-squares
// search for every block's scale and minimum. `importance` has one number for each column, the mean square of the
// activation that the column is multiplied with; nullptr: all alike (then Q8_0 follows ggml's rule without a search).
// The same row gives the same bytes. BadFile for a weight that is not finite or whose block's float16 scale could not
// hold it; UsageError if blocks do not divide `columns`, or an importance is negative or not finite.
absl::Status EncodeRow(BlockType type, const float* weights, std::byte* blocks, int64_t columns,
                       const float* importance = nullptr);

}  // namespace fedglm
