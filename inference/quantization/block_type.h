// The block types of GGUF tensors: how many weights a block holds and how many bytes it takes.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace fedglm {

// Values are GGUF's ggml_type numbers: they are on disk and never change.
enum class BlockType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,
};

struct BlockTypeFacts {
  BlockType type;
  std::string_view name;  // as GGUF's tools print it: "Q4_0"
  int weights_per_block;
  int bytes_per_block;
};

// BadFile for a number that is none of ours.
absl::StatusOr<BlockType> BlockTypeFromNumber(uint32_t number);
// UsageError for an unknown name; upper or lower case.
absl::StatusOr<BlockType> BlockTypeFromName(std::string_view name);
const BlockTypeFacts& FactsOf(BlockType type);

// Bytes of a row of `columns` weights. `columns` must be a multiple of the block's weights.
int64_t RowBytes(BlockType type, int64_t columns);

}  // namespace fedglm
