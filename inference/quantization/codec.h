// Encoding and decoding of rows of blocks: the scalar reference for every kernel. docs/quantization.md explains the
// search.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"
#include "inference/quantization/block_type.h"
#include "inference/quantization/error_metric.h"

namespace fedglm {

// Decodes `columns` weights from `blocks` to float32. Bit-exact with ggml's dequantize_row_*.
void DecodeRow(BlockType type, const std::byte* blocks, float* weights, int64_t columns);

// Encodes `columns` float32 weights with small errors: a least-squares search for every block's scale and minimum, and
// the levels that are nearest. With a `metric`, what is small is the error of the row's product with the inputs that
// were measured: scales are searched by the columns' importance, and levels are chosen so that errors cancel each
// other. nullptr: all columns alike (then Q8_0 follows ggml's rule without a search). The same row gives the same
// bytes. BadFile for a weight that is not finite or whose block's float16 scale could not hold it; UsageError if blocks
// do not divide `columns`, or the metric has another number of them.
absl::Status EncodeRow(BlockType type, const float* weights, std::byte* blocks, int64_t columns,
                       const ErrorMetric* metric = nullptr);

}  // namespace fedglm
