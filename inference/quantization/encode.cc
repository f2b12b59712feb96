#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "inference/quantization/codec.h"
#include "inference/quantization/encode_blocks.h"
#include "inference/quantization/half.h"

namespace fedglm {
namespace {

constexpr float kLargestHalf = 65504.0f;

// Importance is measured on a text of limited length. A column that this text hardly used must not be given up: as GPTQ
// does with its Hessian, 1 % of the mean is added to all.
constexpr float kDamping = 0.01f;

absl::Status Check(BlockType type, const float* weights, int64_t columns, const float* importance) {
  const BlockTypeFacts& facts = FactsOf(type);
  if (columns % facts.weights_per_block != 0) {
    return UsageError(std::to_string(columns) + " columns are no whole blocks of " + std::string(facts.name));
  }
  // The scales of all others are float16, and so is F16 itself.
  const bool any_size = type == BlockType::kF32 || type == BlockType::kBF16;
  for (int64_t i = 0; i < columns; ++i) {
    if (!std::isfinite(weights[i])) return BadFileError("a weight is not finite");
    if (!any_size && std::fabs(weights[i]) > kLargestHalf) {
      return BadFileError("a weight is too large for " + std::string(facts.name));
    }
    if (importance != nullptr && !(importance[i] >= 0.0f && std::isfinite(importance[i]))) {
      return UsageError("importance must be finite and not negative");
    }
  }
  return absl::OkStatus();
}

// With a mean of about 1, so that the sums of the search stay within float32 whatever the activations' size was.
std::vector<float> Damped(const float* importance, int64_t columns) {
  std::vector<float> damped(static_cast<size_t>(columns), 1.0f);
  if (importance == nullptr) return damped;
  double mean = 0;
  for (int64_t i = 0; i < columns; ++i) mean += importance[i];
  mean /= static_cast<double>(columns);
  if (!(mean > 0)) return damped;
  for (int64_t i = 0; i < columns; ++i) {
    damped[static_cast<size_t>(i)] = static_cast<float>(importance[i] / mean) + kDamping;
  }
  return damped;
}

// encode(offset of the block's first weight, block)
template <typename Block, int kWeights, typename Body>
void ForEachBlock(int64_t columns, std::byte* blocks, const Body& encode) {
  for (int64_t i = 0; i < columns / kWeights; ++i) {
    Block block;
    encode(i * kWeights, block);
    std::memcpy(blocks + i * static_cast<int64_t>(sizeof(Block)), &block, sizeof(Block));
  }
}

template <typename Block, int kWeights>
void EncodeBlocks(const float* weights, const float* importance, int64_t columns, std::byte* blocks) {
  const std::vector<float> w = Damped(importance, columns);
  ForEachBlock<Block, kWeights>(columns, blocks,
                                [&](int64_t at, Block& block) { EncodeBlock(weights + at, w.data() + at, block); });
}

}  // namespace

bool CanEncode(BlockType) { return true; }

absl::Status EncodeRow(BlockType type, const float* weights, std::byte* blocks, int64_t columns,
                       const float* importance) {
  FEDGLM_RETURN_IF_ERROR(Check(type, weights, columns, importance));
  switch (type) {
    case BlockType::kF32:
      std::memcpy(blocks, weights, static_cast<size_t>(columns) * sizeof(float));
      break;
    case BlockType::kF16:
      ForEachBlock<uint16_t, 1>(columns, blocks, [&](int64_t at, uint16_t& half) { half = FloatToHalf(weights[at]); });
      break;
    case BlockType::kBF16:
      ForEachBlock<uint16_t, 1>(columns, blocks,
                                [&](int64_t at, uint16_t& half) { half = FloatToBfloat16(weights[at]); });
      break;
    case BlockType::kQ8_0:
      if (importance == nullptr) {
        ForEachBlock<BlockQ8_0, 32>(columns, blocks,
                                    [&](int64_t at, BlockQ8_0& block) { EncodeBlockPlainly(weights + at, block); });
      } else {
        EncodeBlocks<BlockQ8_0, 32>(weights, importance, columns, blocks);
      }
      break;
    case BlockType::kQ4_0: EncodeBlocks<BlockQ4_0, 32>(weights, importance, columns, blocks); break;
    case BlockType::kQ4_1: EncodeBlocks<BlockQ4_1, 32>(weights, importance, columns, blocks); break;
    case BlockType::kQ5_0: EncodeBlocks<BlockQ5_0, 32>(weights, importance, columns, blocks); break;
    case BlockType::kQ5_1: EncodeBlocks<BlockQ5_1, 32>(weights, importance, columns, blocks); break;
    case BlockType::kQ2_K: EncodeBlocks<BlockQ2_K, 256>(weights, importance, columns, blocks); break;
    case BlockType::kQ3_K: EncodeBlocks<BlockQ3_K, 256>(weights, importance, columns, blocks); break;
    case BlockType::kQ4_K: EncodeBlocks<BlockQ4_K, 256>(weights, importance, columns, blocks); break;
    case BlockType::kQ5_K: EncodeBlocks<BlockQ5_K, 256>(weights, importance, columns, blocks); break;
    case BlockType::kQ6_K: EncodeBlocks<BlockQ6_K, 256>(weights, importance, columns, blocks); break;
    case BlockType::kIQ4_NL: EncodeBlocks<BlockIQ4_NL, 32>(weights, importance, columns, blocks); break;
    case BlockType::kIQ4_XS: EncodeBlocks<BlockIQ4_XS, 256>(weights, importance, columns, blocks); break;
  }
  return absl::OkStatus();
}

}  // namespace fedglm
