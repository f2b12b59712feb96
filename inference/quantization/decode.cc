#include "inference/quantization/codec.h"
#include "inference/quantization/decode_blocks.h"

namespace fedglm {

void DecodeRow(BlockType type, const std::byte* blocks, float* weights, int64_t columns) {
  DecodeBlocksOf(type, blocks, weights, columns);
}

}  // namespace fedglm
